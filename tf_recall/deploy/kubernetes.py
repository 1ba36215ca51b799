"""The servers as Kubernetes manifests."""

from typing import Any

from tf_recall.deploy.beside import MOUNTED as STORES
from tf_recall.deploy.placement import MOUNTED
from tf_recall.deploy.servers import CONFIG, DRAIN, GRACE, GRPC, REST, USER, Server

CLAIM, STORES_CLAIM = "tf-recall-models", "tf-recall-stores"
SECRET = "tf-recall-key"


def manifests(
    servers: list[Server], contents: dict[str, dict[str, str]], size: int
) -> list[dict[str, Any]]:
    """The objects: the volumes, and of each server its settings, pods and address.

    Args:
        servers: to run.
        contents: of their files, by server and name.
        size: bytes of all exports.
    """
    made = [_claim(CLAIM, size)]
    if held := sum(store.size for server in servers for store in server.stores):
        made.append(_claim(STORES_CLAIM, held))
    for server in servers:
        config = _object("v1", "ConfigMap", server.name, data=contents[server.name])
        made += [config, _deployment(server), _service(server), _budget(server)]
    return made


def _object(version: str, kind: str, name: str, **content: Any) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "tf-recall"}
    head = {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": labels}}
    return {**head, **content}


def _selected(name):
    return {"app.kubernetes.io/name": name}


def _claim(name, size):
    gigabytes = max(1, -(-3 * size // 2**30))  # versions come and go
    spec = {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": f"{gigabytes}Gi"}},
    }
    return _object("v1", "PersistentVolumeClaim", name, spec=spec)


def _deployment(server):
    labels = {**_selected(server.name), "app.kubernetes.io/part-of": "tf-recall"}
    claims = {"models": CLAIM, **({"stores": STORES_CLAIM} if server.stores else {})}
    pod = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": GRACE,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(server)],
        "volumes": [
            *(
                {"name": name, "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
                for name, claim in claims.items()
            ),
            {"name": "config", "configMap": {"name": server.name}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
        ],
    }
    spec = {
        "replicas": 2,
        "selector": {"matchLabels": _selected(server.name)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return _object("apps/v1", "Deployment", server.name, spec=spec)


def _container(server):
    ready = {"httpGet": {"path": server.ready, "port": "rest"}, "timeoutSeconds": 5}
    alive = {"tcpSocket": {"port": "grpc"}}
    if server.alive is not None:
        alive = {"httpGet": {"path": server.alive, "port": "rest"}}
    made = {
        "name": server.name,
        "image": server.image,
        "command": server.command[:1],
        "args": server.command[1:],
        "ports": [
            {"name": "grpc", "containerPort": GRPC},
            {"name": "rest", "containerPort": REST},
        ],
        "startupProbe": {**ready, "periodSeconds": 5, "failureThreshold": 120},
        "readinessProbe": {**ready, "periodSeconds": 5, "failureThreshold": 2},
        "livenessProbe": {**alive, "timeoutSeconds": 5, "periodSeconds": 10, "failureThreshold": 6},
        # requests come for a moment after the wish to stop
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(DRAIN)]}}},
        "resources": {
            "requests": {"cpu": "1", "memory": f"{server.memory}Mi"},
            "limits": {"cpu": "4", "memory": f"{server.memory}Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "models", "mountPath": MOUNTED, "readOnly": True},
            {"name": "config", "mountPath": CONFIG, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    if server.stores:
        made["volumeMounts"].append({"name": "stores", "mountPath": STORES, "readOnly": True})
    if server.variables:
        made["env"] = [
            {
                "name": each.name,
                "valueFrom": {"secretKeyRef": {"name": SECRET, "key": each.key}},
            }
            for each in server.variables
        ]
    return made


def _service(server):
    ports = [
        {"name": name, "port": port, "targetPort": name}
        for name, port in (("grpc", GRPC), ("rest", REST))
    ]
    spec = {"selector": _selected(server.name), "ports": ports}
    return _object("v1", "Service", server.name, spec=spec)


def _budget(server):
    spec = {"minAvailable": 1, "selector": {"matchLabels": _selected(server.name)}}
    return _object("policy/v1", "PodDisruptionBudget", server.name, spec=spec)
