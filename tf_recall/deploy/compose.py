"""The servers as a Compose file."""

from typing import Any

from tf_recall.deploy.placement import MOUNTED, OWN
from tf_recall.deploy.servers import CONFIG, GRACE, GRPC, REST, USER, Server, Variable


def compose(servers: list[Server], folder: str) -> dict[str, Any]:
    """The Compose file.

    Args:
        servers: one for each service; ports follow each other where there are two.
        folder: of the exports, as the host has it.
    """
    services = {}
    for at, server in enumerate(servers):
        services[server.name] = _service(server, folder, at)
    return {"name": "tf-recall", "services": services}


def _service(server: Server, folder: str, at: int) -> dict[str, Any]:
    made: dict[str, Any] = {"image": server.image}
    if server.name == OWN:
        made["build"] = f"./{server.name}"
    if server.variables:
        made["environment"] = {each.name: _taken(each) for each in server.variables}
    made |= {
        "entrypoint": server.command[:1],
        "command": server.command[1:],
        "ports": [
            f"127.0.0.1:{REST + 10 * at}:{REST}",
            f"127.0.0.1:{GRPC + 10 * at}:{GRPC}",
        ],
        "volumes": [
            _mounted(folder, MOUNTED),
            _mounted(f"./{server.name}", CONFIG),
            *(_mounted(each.source, each.mounted) for each in server.stores),
        ],
        "user": f"{USER}:{USER}",
        "read_only": True,
        "tmpfs": ["/tmp"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "init": True,
        "restart": "unless-stopped",
        "stop_grace_period": f"{GRACE}s",
        "healthcheck": {
            "test": ["CMD", *(each.replace("$", "$$") for each in server.check)],
            "interval": "10s",
            "timeout": "6s",
            "retries": 3,
            "start_period": "300s",
        },
        "deploy": {"resources": {"limits": {"cpus": "4", "memory": f"{server.memory}M"}}},
    }
    return made


def _taken(variable: Variable) -> str:
    """The value that a variable has where the file is read."""
    if variable.default is None:
        return f"${{{variable.name}:?{variable.why}}}"
    return f"${{{variable.name}:-{variable.default.replace('$', '$$')}}}"


def _mounted(source: str, target: str) -> dict[str, Any]:
    source = source.replace("$", "$$")  # else a variable
    return {"type": "bind", "source": source, "target": target, "read_only": True}
