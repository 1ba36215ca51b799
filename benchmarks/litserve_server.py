"""A SavedModel behind LitServe, which `serving_speed` asks beside our server.

    python benchmarks/litserve_server.py EXPORT PORT

LitServe is a much used Python server of models that installs beside TensorFlow and joins requests
into batches; MLServer and BentoML pin other versions of what TensorFlow needs. As its manual has
it: one worker, batches of 64 at most, JSON in and out.
"""

import sys

import litserve
import numpy as np
import tensorflow as tf

BATCH, LINGER = 64, 0.005  # as our server's


class Served(litserve.LitAPI):
    """The export's default signature: one user a request."""

    def __init__(self, path):
        super().__init__(max_batch_size=BATCH, batch_timeout=LINGER)
        self._path = path

    def setup(self, device):
        self._model = tf.saved_model.load(self._path)
        self._signature = self._model.signatures["serving_default"]

    def decode_request(self, request):
        return request["user_id"]

    def batch(self, inputs):
        return list(inputs)

    def predict(self, users):
        nothing = tf.constant(np.empty((len(users), 0), object), tf.string)
        answer = self._signature(
            user_id=tf.constant(users),
            exclude=nothing,
            allow=nothing,
            exclude_seen=tf.zeros([len(users)], tf.bool),
        )
        return answer["item_id"].numpy().astype(str).tolist(), answer["score"].numpy().tolist()

    def unbatch(self, output):
        return list(zip(*output, strict=True))

    def encode_response(self, output):
        return {"item_id": output[0], "score": output[1]}


if __name__ == "__main__":
    litserve.LitServer(Served(sys.argv[1]), accelerator="cpu", workers_per_device=1).run(
        port=int(sys.argv[2]), host="127.0.0.1", generate_client_file=False, log_level="error"
    )
