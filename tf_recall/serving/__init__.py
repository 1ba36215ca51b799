"""A server of exports: TensorFlow Serving's REST and gRPC, and a plain endpoint for people.

    command -> server -> app (REST: tensorflow_rest, people), rpc (gRPC)
            -> backend -> models (folders, versions, leases) -> servable -> endpoint, batching

HTTP is FastAPI on uvicorn: FastAPI checks requests by pydantic, which the package has anyway, and
writes the OpenAPI document from the same types; uvicorn runs in our own event loop, so that one
loop serves HTTP and grpcio's asyncio server and both fill the same batches. granian is quicker for
small answers but owns its loops, in which gRPC could not share a queue. All of it is the extra
`serve`.
"""
