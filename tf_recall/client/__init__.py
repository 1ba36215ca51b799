"""A client of `tf-recall serve`, and of any TensorFlow Serving: REST or gRPC, blocking or not.

    clients (what is called) -> rest, rpc (which requests make a call) -> lines (how they are sent)

It imports no TensorFlow: its messages of gRPC are those of `messages`.
"""

try:
    from tf_recall.client.answers import Answer, Found
    from tf_recall.client.clients import AsyncClient, Client
    from tf_recall.client.errors import ClientError
except ImportError as missing:
    raise ImportError(
        f"the client needs {missing.name}, which is not installed: pip install 'tf_recall[client]'"
    ) from missing

__all__ = ["Answer", "AsyncClient", "Client", "ClientError", "Found"]
