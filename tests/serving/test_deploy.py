"""Files for containers: each export on the server that can serve it, by the schemas' word."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)

from tf_recall.cli import main
from tf_recall.data.errors import one_line
from tf_recall.deploy.files import deploy, written
from tf_recall.deploy.placement import Placed, memory, placed
from tf_recall.export import models_config
from tf_recall.serving.repository import Entry, Repository
from tf_recall.stores.places import fill


@pytest.fixture(scope="module")
def made(exports, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "deploy"
    return out, deploy(exports, out)


@pytest.fixture(scope="module")
def beside(exports, tmp_path_factory):
    """The same with a live store of one model, and Redis."""
    pytest.importorskip("faiss")
    place = tmp_path_factory.mktemp("beside")
    address = f"faiss-flat:{place / 'stores' / 'films'}"
    fill(address, ["a", "b"], [[1.0, 0.0], [0.0, 1.0]])
    out = place / "deploy"
    made = deploy(exports, out, {"two_tower": address}, "redis://cache:6379/0")
    return out, made, {"two_tower": address}


def fake(folder, content):
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "saved_model.pb").write_bytes(content)


def test_each_export_goes_where_it_can_be_served(made, tmp_path):
    assert made[1]["models"] == {"several": "tf-recall", "two_tower": "tensorflow-serving"}
    assert "several channels" in made[1]["why"]["several"]
    fake(tmp_path / "scann", b"..Scann>ScannSearch..")
    fake(tmp_path / "stock", b"..MatMulV2..")
    found = {each.entry.name: each for each in placed(tmp_path)}
    assert found["scann"].server == "tf-recall" and found["scann"].extras == ("scann",)
    assert found["stock"].server == "tensorflow-serving" and not found["stock"].extras


@pytest.mark.slow
def test_a_real_scann_export_is_known(make_service, tmp_path):
    pytest.importorskip("scann")
    from tf_recall.export.write import save
    from tf_recall.index import ScaNN
    from tf_recall.recommend.service import Service

    model, service = make_service()
    save(Service.build(model, service.catalog, index=ScaNN(), k_max=3), tmp_path / "a")
    (found,) = placed(tmp_path)
    assert found.server == "tf-recall" and found.extras == ("scann",)


def test_manifests_are_those_of_kubernetes(made, beside):
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    objects, others = (
        list(yaml.safe_load_all((folder / "kubernetes.yaml").read_text()))
        for folder in (made[0], beside[0])
    )
    kinds = [each["kind"] for each in objects]
    assert kinds.count("Deployment") == kinds.count("Service") == kinds.count("ConfigMap") == 2
    for each in others:
        kubernetes_validate.validate(each, "1.33", strict=True)
    for version in ("1.29", "1.33"):
        for each in objects:
            kubernetes_validate.validate(each, version, strict=True)
    broken = objects[kinds.index("Deployment")]
    broken["spec"]["template"]["spec"]["containers"][0]["readinessprobe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, "1.33", strict=True)


def test_a_compose_file_is_one(made, beside):
    schemas = pytest.importorskip("check_jsonschema.builtin_schemas")
    jsonschema = pytest.importorskip("jsonschema")
    schema = schemas.get_builtin_schema("vendor.compose-spec")
    content = yaml.safe_load((made[0] / "compose.yaml").read_text())
    jsonschema.validate(content, schema)
    jsonschema.validate(yaml.safe_load((beside[0] / "compose.yaml").read_text()), schema)
    content["services"]["tf-recall"]["readonly"] = True
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, schema)


def test_containers_are_locked_down_and_told_when_to_stop(made):
    services = yaml.safe_load((made[0] / "compose.yaml").read_text())["services"]
    for each in services.values():
        assert each["read_only"] and each["cap_drop"] == ["ALL"] and each["user"] == "65532:65532"
        assert all(port.startswith("127.0.0.1:") for port in each["ports"])
        assert all(volume["read_only"] for volume in each["volumes"])
        assert each["deploy"]["resources"]["limits"]["memory"].endswith("M")
    ports = [port.split(":")[1] for each in services.values() for port in each["ports"]]
    assert len(set(ports)) == 4
    objects = yaml.safe_load_all((made[0] / "kubernetes.yaml").read_text())
    for each in (each for each in objects if each["kind"] == "Deployment"):
        pod = each["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)
        drain = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
        assert pod["terminationGracePeriodSeconds"] > drain + 30  # the server's own grace


def test_stores_and_redis_reach_their_server(beside, exports):
    out, made, addresses = beside
    assert set(made["models"].values()) == {"tf-recall"}
    assert "live store" in made["why"]["two_tower"] and "Redis" in made["why"]["several"]
    (service,) = yaml.safe_load((out / "compose.yaml").read_text())["services"].values()
    told = "two_tower=faiss-flat:/stores/two_tower"
    assert f"--store={told}" in service["command"]
    name, *arguments = service["command"]
    given = main.commands[name].make_context(name, arguments).params
    assert given["stores"] == (told,)
    mounted = {each["target"]: each["source"] for each in service["volumes"]}
    kind, _, place = addresses["two_tower"].partition(":")
    assert (out / mounted["/stores/two_tower"]).resolve() == Path(place).resolve()
    assert service["environment"]["TF_RECALL_REDIS"] == "${TF_RECALL_REDIS:-redis://cache:6379/0}"
    assert '[faiss,redis,serve]"' in (out / "tf-recall" / "Dockerfile").read_text()
    objects = list(yaml.safe_load_all((out / "kubernetes.yaml").read_text()))
    (pod,) = (each["spec"]["template"]["spec"] for each in objects if each["kind"] == "Deployment")
    (container,) = pod["containers"]
    assert f"--store={told}" in container["args"]
    claims = {each["name"]: each.get("persistentVolumeClaim") for each in pod["volumes"]}
    assert claims["stores"]["claimName"] == "tf-recall-stores"
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert mounts["stores"] == "/stores" and set(mounts) == set(claims)
    keys = {each["name"]: each["valueFrom"]["secretKeyRef"]["key"] for each in container["env"]}
    assert keys == {"TF_RECALL_API_KEY": "key", "TF_RECALL_REDIS": "redis"}
    readme = (out / "README.md").read_text()
    assert "--from-literal=key=<key> --from-literal=redis=redis://cache:6379/0" in readme


def test_passwords_are_in_no_file(exports, tmp_path):
    deploy(exports, tmp_path, redis="redis://me:geheim@cache:6379/0")
    for each in tmp_path.rglob("*"):
        assert each.is_dir() or "geheim" not in each.read_text()
    services = yaml.safe_load((tmp_path / "compose.yaml").read_text())["services"]
    asked = services["tf-recall"]["environment"]["TF_RECALL_REDIS"]
    assert asked == "${TF_RECALL_REDIS:?say where Redis is}"


@pytest.mark.parametrize(
    ("stores", "redis", "says"),
    [
        ({"films": "milvus:http://milvus:19530#films"}, None, "names 'films'; .* two_tower"),
        ({"two_tower": "faiss-flat:nowhere"}, None, "no store at nowhere: fill one by"),
        ({"two_tower": "milvus:items.db#films"}, None, "one process alone: deploy with a server"),
        ({"two_tower": "milvus:http://localhost:1#films"}, None, "is the container itself"),
        ({"two_tower": "pinecone:x"}, None, "is no address of a store"),
        ({}, "redis://me:geheim@127.0.0.1:6379/0", r"redis://\*\*\*@127.* is the container itself"),
        ({}, "cache:6379", "no address of Redis, such as redis://redis:6379/0"),
    ],
)
def test_what_no_container_could_reach_is_refused(exports, tmp_path, stores, redis, says):
    with pytest.raises((ValueError, FileNotFoundError), match=says) as told:
        deploy(exports, tmp_path / "out", stores, redis)
    assert "geheim" not in str(told.value) and not (tmp_path / "out").exists()


def test_a_store_on_a_server_is_told_as_it_is(exports, tmp_path):
    address = "milvus:http://milvus:19530#films"
    deploy(exports, tmp_path, {"two_tower": address})
    services = yaml.safe_load((tmp_path / "compose.yaml").read_text())["services"]
    (service,) = services.values()
    assert f"--store=two_tower={address}" in service["command"]
    assert all("/stores" not in each["target"] for each in service["volumes"])
    assert '[milvus,serve]"' in (tmp_path / "tf-recall" / "Dockerfile").read_text()


def test_lists_hold_what_was_there(exports, tmp_path):
    entry = Entry("a", tmp_path, None, labels={"best": 2})
    stock, own = "tensorflow-serving", "tf-recall"
    models = [
        Placed(entry, stock, "", 10),
        Placed(Entry("b", tmp_path, 3), stock, "", 10),
        Placed(Entry("c", tmp_path, 1, (1, 4)), own, "", 10, ("scann",)),
    ]
    contents = written(models, "../saved_models")
    for name in (stock, own):
        (tmp_path / name).write_text(contents[f"{name}/models.config"])
    listed = models_config.read(tmp_path / stock).model_config_list.config
    assert [each.base_path for each in listed] == ["/models/a", "/models/b"]
    assert listed[0].model_version_policy.HasField("all") and listed[0].version_labels["best"] == 2
    assert listed[1].model_version_policy.latest.num_versions == 3
    (listed,) = models_config.read(tmp_path / own).model_config_list.config
    assert list(listed.model_version_policy.specific.versions) == [1, 4]
    assert '[scann,serve]"' in contents["tf-recall/Dockerfile"]
    in_map = next(
        each
        for each in yaml.safe_load_all(contents["kubernetes.yaml"])
        if each["kind"] == "ConfigMap"
    )
    assert in_map["data"]["models.config"] == contents[f"{stock}/models.config"]


def test_batching_parameters_are_those_of_tensorflow_serving(made):
    """Its message is in no package: these are its fields."""
    file = descriptor_pb2.FileDescriptorProto(name="b.proto", package="b", syntax="proto3")
    file.dependency.append("google/protobuf/wrappers.proto")
    message = file.message_type.add(name="BatchingParameters")
    fields = ["max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads"]
    for number, name in enumerate(fields, 1):
        kind = ".google.protobuf.Int64Value"
        message.field.add(name=name, number=number, label=1, type=11, type_name=kind)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    read = message_factory.GetMessageClass(pool.FindMessageTypeByName("b.BatchingParameters"))()
    text = (made[0] / "tensorflow-serving" / "batching_parameters.txt").read_text()
    text_format.Parse(text, read)
    assert all(getattr(read, name).value > 0 for name in fields)


def test_checks_tell_whether_a_server_answers(made, exports, run_server, free_ports):
    """The commands of health checks, as they stand, against a server with TensorFlow's REST."""
    services = yaml.safe_load((made[0] / "compose.yaml").read_text())["services"]
    (free,) = free_ports(1)
    with run_server(exports) as server:
        port = server.rest.rpartition(":")[2]
        for each in services.values():
            kind, *command = each["healthcheck"]["test"]
            assert kind == "CMD"
            command = [part.replace("$$", "$") for part in command]
            command[0] = sys.executable if command[0] == "python" else command[0]
            for where, fine in ((port, True), (str(free), False)):
                run = [part.replace("8501", where) for part in command]
                assert (
                    subprocess.run(run, capture_output=True, timeout=60).returncode == 0
                ) == fine


def test_the_server_takes_its_arguments(made, exports, tmp_path):
    service = yaml.safe_load((made[0] / "compose.yaml").read_text())["services"]["tf-recall"]
    assert service["entrypoint"] == ["tf-recall"]
    name, *arguments = service["command"]
    given = main.commands[name].make_context(name, arguments).params
    assert given["host"] == "0.0.0.0" and given["folder"] == "/models"
    text = (made[0] / "tf-recall" / "models.config").read_text().replace("/models", str(exports))
    (tmp_path / "models.config").write_text(text)
    assert list(Repository(exports, tmp_path / "models.config").entries()) == ["several"]


def test_memory_grows_with_what_is_served(tmp_path):
    def needed(size, latest=1):
        return memory([Placed(Entry("a", tmp_path, latest), "tensorflow-serving", "", size)])

    gigabyte = 2**30
    # 2 versions at a swap, twice their files, and 1 GiB of the server's own
    assert needed(gigabyte) == 1024 + 4096 and needed(gigabyte, 2) == 1024 + 6144
    assert needed(1) == 1024 + 256


def test_files_of_others_stay(exports, tmp_path):
    deploy(exports, tmp_path)
    before = {each: each.read_text() for each in tmp_path.rglob("*") if each.is_file()}
    deploy(exports, tmp_path)  # its own it replaces
    (tmp_path / "compose.yaml").write_text("services: {}\n")
    (tmp_path / "README.md").unlink()
    with pytest.raises(FileExistsError, match="compose.yaml was not written by tf-recall deploy"):
        deploy(exports, tmp_path)
    assert not (tmp_path / "README.md").exists()  # nothing was written
    assert (tmp_path / "kubernetes.yaml").read_text() == before[tmp_path / "kubernetes.yaml"]


def test_no_file_names_a_host_of_images(made):
    for each in made[0].rglob("*"):
        if each.is_file():
            text = each.read_text()
            assert not re.search(r"(image:|FROM) *[\w-]+\.[\w.]+/", text), each
            assert "://" not in text.replace("http://127.0.0.1", ""), each


def test_the_command(exports, tmp_path):
    result = CliRunner().invoke(main, ["deploy", str(exports), "--out", str(tmp_path / "out")])
    answer = json.loads(result.stdout.splitlines()[-1])
    assert "tf-recall/Dockerfile" in answer["files"] and result.exit_code == 0
    for wrong, says in (
        (tmp_path / "nowhere", "is no folder"),
        (tmp_path / "out", "no export in"),
    ):
        result = CliRunner().invoke(main, ["deploy", str(wrong), "--out", str(tmp_path)])
        assert result.exit_code == 1 and says in one_line(Exception(result.stderr))
