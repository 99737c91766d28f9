"""A general plugin of vLLM that makes its expert load balancer return a fixed placement.

vLLM reads no placement file, but asks a policy class where experts belong. This replaces the
default one. The file is what `colocate convert --to vllm` or `--to vllm-map` writes; its name is
in the environment variable COLOCATE_PLAN. Without the variable the plugin does nothing.
"""

import json
import logging
import os

logger = logging.getLogger("colocate")


def read_plan(path):
    """The experts of each slot, [MoE layers][slots]."""
    with open(path, encoding="utf-8") as file:
        documents = [json.loads(line) for line in _documents(file.read())]
    if len(documents) == 1 and isinstance(documents[0], list):
        return documents[0]
    records = [d for d in documents if d.get("record_type") == "eplb_initial_mapping"]
    if len(records) != 1 or records[0].get("version") != 1:
        raise ValueError(f"{path}: {len(records)} mappings, expected one of version 1")
    layers = records[0]["initial_global_assignments"]
    return [layers[str(layer)] for layer in range(len(layers))]


def _documents(text):
    return [text] if text.lstrip().startswith("[") else filter(str.strip, text.splitlines())


def policy(path):
    """A policy class of vLLM's that returns the plan and refuses a model that it is not for."""
    import torch
    from vllm.distributed.eplb.policy import AbstractEplbPolicy

    plan = torch.tensor(read_plan(path), dtype=torch.int64)

    class ColocatePolicy(AbstractEplbPolicy):
        @classmethod
        def rebalance_experts(cls, weight, num_replicas, num_groups, num_nodes, num_ranks,
                              old_global_expert_indices=None):
            layers, experts = weight.shape
            if tuple(plan.shape) != (layers, num_replicas):
                raise ValueError(f"{path}: {tuple(plan.shape)}, expected {(layers, num_replicas)}")
            if any(set(row) != set(range(experts)) for row in plan.tolist()):
                raise ValueError(f"{path}: a layer does not hold each of the {experts} experts")
            logger.warning("colocate: placement %s: %d MoE layers, %d slots on %d ranks",
                           path, layers, num_replicas, num_ranks)
            return plan.clone()

    return ColocatePolicy


def register():
    """vLLM calls this in every process."""
    if path := os.environ.get("COLOCATE_PLAN"):
        import vllm.distributed.eplb.policy as registry

        registry.EPLB_POLICIES["default"] = policy(path)
