"""Answers a question with a saved model as a user of transformers does, and prints where it stopped.

    python tests/parity/generate_saved.py MODEL_DIR QUESTION [ADAPTER_DIR [STOP_ID...]]

Prints one JSON object: the new token ids, the ids that generation stops at, and the tokenizer's `eos_token`.
"""

import json
import sys

import torch
import transformers


def main():
    torch.set_num_threads(1)
    model_dir, question, more = sys.argv[1], sys.argv[2], sys.argv[3:]
    model = transformers.AutoModelForCausalLM.from_pretrained(model_dir)
    if more:
        import peft
        model = peft.PeftModel.from_pretrained(model, more[0])
    tokenizer = transformers.AutoTokenizer.from_pretrained(more[0] if more else model_dir)
    inputs = tokenizer.apply_chat_template([{"role": "user", "content": question}], add_generation_prompt=True,
                                           return_tensors="pt", return_dict=True)
    stops = {"eos_token_id": [int(stop) for stop in more[1:]]} if more[1:] else {}
    output = model.generate(**inputs, max_new_tokens=60, do_sample=False, **stops)
    new = output[0, inputs["input_ids"].shape[1]:].tolist()
    print(json.dumps({"new": new, "stops": model.generation_config.eos_token_id, "eos_token": tokenizer.eos_token}))


if __name__ == "__main__":
    main()
