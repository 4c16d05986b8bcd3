"""llama.cpp in a process of its own: reads questions from a JSON file, writes the answers to another.

Run as `python -m groundup.export.llama_cpp_process ASKED ANSWERED`, by llama_cpp.py. The library is a server; its own address on
this machine is used for what the library's functions do not give (tokenizing, the likeliest tokens).
"""

from __future__ import annotations

import importlib
import json
import sys
import urllib.request
from pathlib import Path
from typing import Any


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The ids of `texts`, and for each of `prompts` the greedy tokens after it with the likeliest others."""
    xllamacpp: Any = importlib.import_module("xllamacpp")  # compiled, without types
    params = xllamacpp.CommonParams()
    params.model.path = request["file"]
    params.n_ctx = request["context_length"]
    params.n_parallel = 1
    params.n_gpu_layers = 0
    params.warmup = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = request["n_threads"]
    # Keys and values in float32, attention step by step: the differences left are the weights' and the kernels'.
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server = xllamacpp.Server(params)

    def post(path: str, **values: Any) -> Any:
        data = json.dumps(values).encode()
        headers = {"Content-Type": "application/json"}
        # No proxy may stand between this process and itself.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return json.loads(opener.open(urllib.request.Request(server.listening_address + path, data, headers)).read())

    ids = [
        post("/tokenize", content=text, add_special=False, parse_special=False)["tokens"] for text in request["texts"]
    ]
    # One token a question: a token that ends within a character is left out of the list when several are asked for.
    positions: list[list[dict[str, Any]]] = []
    for prompt in request["prompts"]:
        written: list[dict[str, Any]] = []
        for _ in range(request["n_new"]):
            ids_so_far = prompt + [position["id"] for position in written]
            found = post(
                "/completion",
                prompt=ids_so_far,
                n_predict=1,
                n_probs=request["n_top"],
                temperature=0,
                return_tokens=True,
                cache_prompt=True,
            )
            if not found["tokens"]:  # the end of the text
                break
            likeliest = [place["top_logprobs"] for place in found.get("completion_probabilities") or ()]
            top = [[other["id"], other["logprob"]] for other in (likeliest[0] if likeliest else ())]
            written.append({"id": found["tokens"][0], "top": top})
        positions.append(written)
    return {"version": xllamacpp.__version__, "ids": ids, "positions": positions}


if __name__ == "__main__":
    asked, answered = map(Path, sys.argv[1:])
    found = json.dumps(answer(json.loads(asked.read_text(encoding="utf-8"))))
    partial = answered.with_suffix(".partial")
    partial.write_text(found, encoding="utf-8")
    partial.rename(answered)
