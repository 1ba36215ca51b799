"""TLS and the API key, over REST and gRPC, beside `models.config` with labels."""

import datetime
import ipaddress
import ssl

import grpc
import httpx
import pytest
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

KEY = "secret-1"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A certificate of 127.0.0.1 that is its own authority, and its private key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder, key = tmp_path_factory.mktemp("tls"), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    kind, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, kind, none))
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(scope="module")
def secure(exports, pair, run_server, tmp_path_factory):
    """A server of one model under another name, with a label."""
    config = tmp_path_factory.mktemp("config") / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "films" base_path: "{exports / "two_tower"}" '
        'model_platform: "tensorflow" version_labels { key: "stable" value: 1 } } }'
    )
    certificate, key = pair
    settings = {"config": config, "key": KEY, "certificate": certificate, "private_key": key}
    with run_server(exports, **settings) as server:
        yield server


def test_rest(secure, pair):
    assert secure.rest.startswith("https://")
    context = ssl.create_default_context(cafile=pair[0])
    with httpx.Client(base_url=secure.rest, verify=context, timeout=30) as client:
        assert client.get("/readyz").status_code == 200
        for headers in (
            {},
            {"x-api-key": "other"},
            {"authorization": "Basic secret-1"},
            {"x-api-key": "ü".encode()},
        ):
            answer = client.get("/v1/models/films", headers=headers)
            assert answer.status_code == 401 and "API key" in answer.json()["error"]
        for headers in ({"x-api-key": KEY}, {"authorization": f"bearer {KEY}"}):
            answer = client.get("/v1/models/films/labels/stable", headers=headers)
            assert answer.status_code == 200
            assert answer.json()["model_version_status"][0]["version"] == "1"
        key = {"x-api-key": KEY}
        answer = client.post("/recommend", json={"user_id": "u1"}, headers=key).json()
        assert answer["model"] == "films" and len(answer["items"]) > 1  # the only one served
        answer = client.post(
            "/recommend", json={"user_id": "u1", "label": "stable", "k": 1}, headers=key
        )
        assert answer.json()["version"] == 1
        assert client.get("/v1/models/several", headers=key).status_code == 404
        assert client.get("/openapi.json").json()["security"] == [{"key": []}, {"header": []}]


def test_grpc(secure, pair):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name, request.model_spec.version_label = "films", "stable"
    credentials = grpc.ssl_channel_credentials(pair[0].read_bytes())
    with grpc.secure_channel(secure.grpc, credentials) as channel:
        call = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus
        with pytest.raises(grpc.RpcError) as error:
            call(request, timeout=30)
        assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED
        for key in (("x-api-key", KEY), ("authorization", f"Bearer {KEY}")):
            (status,) = call(request, timeout=30, metadata=[key]).model_version_status
            assert status.version == 1
