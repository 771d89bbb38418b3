"""The baseline of `bench_serving.py`: what KServe's stock server does, as a minimal kserve.Model.

A request is tokenised and computed on the event loop, by itself, by transformers in fp32; the
answer holds class indices. (KServe's huggingfaceserver does the same for sequence classification:
padding to the longest text of the request, `torch.no_grad`, argmax.)
"""

import argparse
import logging

import torch
from kserve import Model, ModelServer
from transformers import AutoModelForSequenceClassification, AutoTokenizer


class StockModel(Model):
    def __init__(self, name, folder, max_tokens):
        super().__init__(name)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.network = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        self.max_tokens = max_tokens
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        options = {"padding": True, "truncation": True, "max_length": self.max_tokens}
        inputs = self.tokenizer(payload["instances"], return_tensors="pt", **options)
        with torch.no_grad():
            logits = self.network(**inputs).logits
        return {"predictions": logits.argmax(-1).tolist()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model-dir", required=True)
    parser.add_argument("--max-tokens", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    logging.disable(logging.INFO)
    ModelServer(http_port=options.port, enable_grpc=False, enable_latency_logging=False).start(
        [StockModel("review-sentiment", options.model_dir, options.max_tokens)]
    )
