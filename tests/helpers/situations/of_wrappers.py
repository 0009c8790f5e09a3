"""What stands around the weights, or in their names."""

import re

import torch
from situations import Situation, situation, tensors
from torch import nn
from torchvision.models import VisionTransformer, mnasnet0_5, resnet18

GITHUB = "https://github.com/"


class Net(nn.Module):
    """Every dimension another; two blocks, a BatchNorm with statistics that were used."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, (2, 3)), nn.BatchNorm2d(6))
        self.blocks = nn.ModuleList([nn.ModuleDict({"up": nn.Linear(6, 9), "down": nn.Linear(9, 6)}) for _ in range(2)])
        self.head = nn.Linear(6, classes)
        self.stem(torch.randn(4, 3, 8, 9))


def prefixed(prefix: str, model: nn.Module) -> dict[str, torch.Tensor]:
    return {prefix + key: tensor for key, tensor in tensors(model).items()}


def in_the_middle(part: str, model: nn.Module) -> dict[str, torch.Tensor]:
    """In front of each block's content."""
    return {
        key.replace("blocks.0.", f"blocks.0.{part}.").replace("blocks.1.", f"blocks.1.{part}."): tensor
        for key, tensor in tensors(model).items()
    }


@situation(GITHUB + "pytorch/pytorch/issues/3805")
def data_parallel_left_module_in_front() -> Situation:
    checkpoint = Net()
    return Situation(
        Net(),
        {"state_dict": prefixed("module.", checkpoint)},
        says=["'state_dict'", "'module.'"],
        holds=tensors(checkpoint),
    )


@situation(GITHUB + "Chiaraplizz/ST-TR/issues/17")
def the_model_is_wrapped_and_the_checkpoint_is_not() -> Situation:
    checkpoint = Net()
    return Situation(
        nn.DataParallel(Net()), tensors(checkpoint), says=["model.*'module.'"], holds=prefixed("module.", checkpoint)
    )


@situation(GITHUB + "karpathy/nanoGPT/issues/325")
def torch_compile_left_a_prefix_beside_an_optimizer() -> Situation:
    checkpoint = Net()
    given = {
        "model": prefixed("_orig_mod.", checkpoint),
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": []},
        "iter_num": 5,
    }
    return Situation(Net(), given, says=["'model'", "_orig_mod"], holds=tensors(checkpoint))


@situation(GITHUB + "FareedKhan-dev/train-llm-from-scratch/issues/36")
def compiled_and_then_distributed() -> Situation:
    checkpoint = Net()
    return Situation(Net(), prefixed("_orig_mod.module.", checkpoint), says=["_orig_mod"], holds=tensors(checkpoint))


@situation(GITHUB + "justchenhao/SILI_CD/issues/2")
def the_model_is_compiled_and_the_checkpoint_is_not() -> Situation:
    checkpoint = Net()
    return Situation(
        torch.compile(Net()), tensors(checkpoint), says=["model.*_orig_mod"], holds=prefixed("_orig_mod.", checkpoint)
    )


@situation(GITHUB + "Lightning-AI/litgpt/issues/1613")
def fsdp_and_checkpointing_stand_in_the_middle() -> Situation:
    checkpoint = Net()
    given = {
        f"_fsdp_wrapped_module.{key}": t
        for key, t in in_the_middle("_fsdp_wrapped_module._checkpoint_wrapped_module", checkpoint).items()
    }
    return Situation(
        Net(), given, says=["_fsdp_wrapped_module", "_checkpoint_wrapped_module"], holds=tensors(checkpoint)
    )


@situation()
def only_the_blocks_were_compiled() -> Situation:
    checkpoint = Net()
    return Situation(
        Net(),
        in_the_middle("_orig_mod", checkpoint),
        says=["wrap.*_orig_mod"],
        holds=tensors(checkpoint),
        never=["architecture"],
    )


@situation()
def only_the_blocks_of_the_model_are_wrapped() -> Situation:
    checkpoint, model = Net(), Net()
    model.blocks = nn.ModuleList([nn.DataParallel(block) for block in model.blocks])
    return Situation(
        model,
        tensors(checkpoint),
        says=["model.*'module'"],
        holds=in_the_middle("module", checkpoint),
        never=["architecture"],
    )


@situation(GITHUB + "facebookresearch/moco/issues/84")
def moco_has_two_encoders_and_a_queue() -> Situation:
    one, other = Net(), Net()
    given = (
        prefixed("encoder_q.", one)
        | prefixed("encoder_k.", other)
        | {"queue": torch.ones(6, 11), "queue_ptr": torch.zeros(1)}
    )
    return Situation(Net(), given, says=["encoder_q.*encoder_k|encoder_k.*encoder_q"], holds=None, never=["it loads"])


@situation(GITHUB + "facebookresearch/dinov2/issues/544")
def fsdp_saved_flat_parameters() -> Situation:
    """All weights of a block in one row: which is which stands nowhere in the file."""
    given = {
        f"{who}.backbone._fsdp_wrapped_module{block}._flat_param": torch.randn(117)
        for who in ("student", "teacher")
        for block in ("", ".blocks.0._fsdp_wrapped_module", ".blocks.1._fsdp_wrapped_module")
    }
    return Situation(Net(), given, says=["flat|another architecture|0 of 6"], holds=None)


@situation()
def student_and_teacher_hold_the_same_numbers() -> Situation:
    checkpoint = Net()
    given = prefixed("student.", checkpoint) | prefixed("teacher.", checkpoint)
    return Situation(Net(), given, says=["'student.'|'teacher.'"], holds=tensors(checkpoint))


@situation()
def an_average_lies_beside_the_model() -> Situation:
    checkpoint, average = Net(), Net()
    given = {"epoch": 7, "ema": tensors(average), "model": tensors(checkpoint)}
    return Situation(Net(), given, says=["'model'.*'ema'"], holds=tensors(checkpoint))


@situation()
def two_nests_of_unknown_names() -> Situation:
    given = {"generator_a": tensors(Net()), "generator_b": tensors(Net())}
    return Situation(Net(), given, says=["generator_a.*generator_b"], holds=None)


@situation()
def a_generator_beside_a_discriminator() -> Situation:
    checkpoint = Net()
    given = {
        "discriminator": tensors(nn.Sequential(nn.Conv2d(3, 2, 5), nn.Conv2d(2, 1, 4))),
        "generator": tensors(checkpoint),
    }
    return Situation(Net(), given, says=["'generator'"], holds=tensors(checkpoint))


@situation(GITHUB + "YBIGTA/pytorch-hair-segmentation/issues/30")
def a_nest_of_another_name_and_losses_beside_it() -> Situation:
    checkpoint = Net()
    given = {"weight": tensors(checkpoint), "train_loss": [0.5, 0.25], "val_loss": 0.75}
    return Situation(Net(), given, says=["'weight'"], holds=tensors(checkpoint))


@situation()
def a_criterion_of_lightning_lies_beside_the_model() -> Situation:
    checkpoint = Net()
    given = {
        "state_dict": prefixed("model.", checkpoint) | {"criterion.weight": torch.ones(5)},
        "epoch": 3,
        "pytorch-lightning_version": "2.0",
    }
    return Situation(Net(), given, says=["'state_dict'", "'model.'"], holds=tensors(checkpoint))


@situation()
def the_state_of_an_optimizer() -> Situation:
    model = Net()
    optimizer = torch.optim.Adam(model.parameters())
    sum(parameter.sum() for parameter in model.parameters()).backward()
    optimizer.step()
    return Situation(Net(), optimizer.state_dict(), says=["optimizer"], holds=None)


@situation()
def a_list_of_tensors_under_params() -> Situation:
    return Situation(Net(), {"params": list(tensors(Net()).values())}, says=["no tensors|list|names"], holds=None)


@situation()
def nothing_at_all() -> Situation:
    return Situation(Net(), {}, says=["no tensors"], holds=None)


@situation()
def numbers_for_names() -> Situation:
    checkpoint = nn.Sequential(nn.Linear(2, 3, bias=False))
    given = {0: checkpoint[0].weight.detach()}
    return Situation(Net(), given, says=["no names"], holds=None)


@situation()
def a_whole_model_lies_in_the_nest() -> Situation:
    checkpoint = Net()
    return Situation(Net(), {"model": checkpoint, "epoch": 2}, says=["'model'"], holds=tensors(checkpoint))


@situation()
def arrays_of_numpy() -> Situation:
    checkpoint = Net()
    given = {key: tensor.numpy() for key, tensor in tensors(checkpoint).items()}
    return Situation(Net(), given, says=["numpy"], holds=tensors(checkpoint))


@situation()
def keys_sorted_by_their_writer() -> Situation:
    """safetensors sorts: layer 10 stands before layer 2."""
    build = lambda: nn.Sequential(*[nn.Linear(4, 4) for _ in range(12)])
    checkpoint = build()
    given = dict(sorted(prefixed("net.", checkpoint).items()))
    return Situation(build(), given, says=["'net.'"], holds=tensors(checkpoint))


@situation()
def equal_layers_sorted_and_renamed() -> Situation:
    """Nothing decides which is which."""
    build = lambda: nn.Sequential(*[nn.Linear(4, 4) for _ in range(3)])
    given = {
        f"{name}.{leaf}": torch.randn(4, 4) if leaf == "weight" else torch.randn(4)
        for name in ("alpha", "beta", "gamma_")
        for leaf in ("bias", "weight")
    }
    return Situation(build(), given, says=["nothing decides|another architecture|by shape and order|pair"], holds=None)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens, self.layer, self.lm_head = nn.Embedding(11, 4), nn.Linear(4, 4), nn.Linear(4, 11, bias=False)
        self.lm_head.weight = self.embed_tokens.weight


@situation(GITHUB + "google-deepmind/gemma/issues/8")
def one_of_two_names_of_a_tied_weight() -> Situation:
    checkpoint = tensors(Tied())
    given = {key: tensor for key, tensor in checkpoint.items() if key != "lm_head.weight"}
    return Situation(Tied(), given, says=["lm_head"], holds=checkpoint, never=["^it loads"])


@situation(GITHUB + "huggingface/transformers/issues/30202")
def two_values_for_one_tied_weight() -> Situation:
    given = tensors(Tied())
    given["lm_head.weight"] = given["lm_head.weight"] + 1
    return Situation(
        Tied(), given, says=["embed_tokens.*lm_head|lm_head.*embed_tokens"], holds=None, never=["^it loads"]
    )


@situation()
def mmcv_calls_the_nest_state_dict_and_the_network_backbone() -> Situation:
    checkpoint = resnet18()
    given = {
        "meta": {"epoch": 3},
        "state_dict": prefixed("backbone.", checkpoint) | {"head.fc.weight": torch.ones(7, 512)},
    }
    return Situation(resnet18(), given, says=["'backbone.'"], holds=tensors(checkpoint))


TIMM = (  # by hand: torchvision's names of a ViT -> timm's
    (r"^class_token$", "cls_token"),
    (r"^conv_proj\.", "patch_embed.proj."),
    (r"^encoder\.pos_embedding$", "pos_embed"),
    (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
    (r"\.ln_1\.", ".norm1."),
    (r"\.self_attention\.in_proj_", ".attn.qkv."),
    (r"\.self_attention\.out_proj\.", ".attn.proj."),
    (r"\.ln_2\.", ".norm2."),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.3\.", ".mlp.fc2."),
    (r"^encoder\.ln\.", "norm."),
    (r"^heads\.head\.", "head."),
)


def as_in_timm(name: str) -> str:
    for pattern, replacement in TIMM:
        name = re.sub(pattern, replacement, name)
    return name


def small_vit(classes: int = 5) -> nn.Module:
    return VisionTransformer(32, 8, 2, 2, 16, 24, num_classes=classes)


@situation()
def timm_calls_the_parts_of_a_vit_otherwise() -> Situation:
    right = tensors(small_vit())
    given = {as_in_timm(key): tensor for key, tensor in right.items()}
    return Situation(
        small_vit(), given, says=["query, key", "cls_token.*class_token"], holds=right, never=["architecture"]
    )


@situation()
def torchvision_for_a_model_of_timm() -> Situation:
    """The other way round; a module with the names of timm stands for the model."""
    right = {as_in_timm(key): tensor for key, tensor in tensors(small_vit()).items()}
    model = nn.Module()
    for key, tensor in right.items():
        *parents, leaf = key.split(".")
        place = model
        for parent in parents:
            if parent not in dict(place.named_children()):
                place.add_module(parent, nn.Module())
            place = place.get_submodule(parent)
        place.register_parameter(leaf, nn.Parameter(torch.randn_like(tensor)))
    given = {}
    for key in tensors(small_vit()):
        given[key] = right[as_in_timm(key)]
    return Situation(model, given, says=["query, key", "class_token.*cls_token"], holds=right, never=["architecture"])


HUGGING_FACE = (  # by hand: torchvision's names of a ViT -> those of transformers
    (r"^class_token$", "vit.embeddings.cls_token"),
    (r"^conv_proj\.", "vit.embeddings.patch_embeddings.projection."),
    (r"^encoder\.pos_embedding$", "vit.embeddings.position_embeddings"),
    (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"vit.encoder.layer.\1."),
    (r"\.ln_1\.", ".layernorm_before."),
    (r"\.self_attention\.out_proj\.", ".attention.output.dense."),
    (r"\.ln_2\.", ".layernorm_after."),
    (r"\.mlp\.0\.", ".intermediate.dense."),
    (r"\.mlp\.3\.", ".output.dense."),
    (r"^encoder\.ln\.", "vit.layernorm."),
    (r"^heads\.head\.", "classifier."),
)


def as_in_transformers(right: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    found = {}
    for name, tensor in right.items():
        for pattern, replacement in HUGGING_FACE:
            name = re.sub(pattern, replacement, name)
        fused = re.fullmatch(r"(.*)\.self_attention\.in_proj_(weight|bias)", name)
        if not fused:
            found[name] = tensor
            continue
        for part, third in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
            found[f"{fused[1]}.attention.attention.{part}.{fused[2]}"] = third
    return found


@situation()
def transformers_calls_the_parts_of_a_vit_otherwise() -> Situation:
    right = tensors(small_vit())
    return Situation(small_vit(), as_in_transformers(right), says=["query, key", "cls_token"], holds=right)


@situation()
def transformers_and_other_classes() -> Situation:
    right = tensors(small_vit(5))
    holds = {key: tensor for key, tensor in right.items() if "heads" not in key}
    return Situation(small_vit(7), as_in_transformers(right), says=["classes.*5.*7.*heads.head"], holds=holds)


@situation()
def keras_with_its_own_names_and_slashes() -> Situation:
    build = lambda: nn.ModuleDict(
        {"c1": nn.Conv2d(3, 8, (2, 3)), "b1": nn.BatchNorm2d(8), "c2": nn.Conv2d(8, 16, 3), "fc": nn.Linear(16, 5)}
    )
    right = {key: tensor for key, tensor in tensors(build()).items() if "num_batches" not in key}
    right["b1.running_mean"], right["b1.running_var"] = torch.randn(8), torch.rand(8)
    layers = {"c1": "conv2d", "b1": "batch_normalization", "c2": "conv2d_1", "fc": "dense"}
    leaves = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    given = {}
    for key, tensor in right.items():
        layer, leaf = key.split(".")
        if layer == "b1":
            leaf = leaves[leaf]
        elif leaf == "weight":
            leaf, tensor = "kernel", tensor.permute(2, 3, 1, 0) if tensor.ndim == 4 else tensor.T
        given[f"{layers[layer]}/{leaf}:0"] = tensor
    return Situation(build(), given, says=["'/'", "kernel", "height, width"], holds=right, never=["architecture"])


class Frozen(nn.Module):
    """A norm that never changes; its older versions counted the epsilon among the variance."""

    _version = 3

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.register_buffer(name, torch.rand(channels) + 1)

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
        if (local_metadata.get("version") or 0) < 3:
            state_dict[f"{prefix}running_var"] -= 0.25
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


@situation()
def versions_stand_beside_the_names() -> Situation:
    """Without them the norms would take the checkpoint for one of an older version."""
    build = lambda: nn.Sequential(nn.Conv2d(3, 5, 3), Frozen(5))
    checkpoint, wrapped = build(), nn.Module()
    wrapped.module = checkpoint
    return Situation(build(), wrapped.state_dict(), says=["'module.'", "version"], holds=tensors(checkpoint))


@situation()
def an_older_version_is_read_and_left_as_it_is() -> Situation:
    """The norms of the model change the variance where it lies; the caller's must stay."""
    build = lambda: nn.Sequential(nn.Conv2d(3, 5, 3), Frozen(5))
    given = tensors(build())
    holds = {key: tensor - 0.25 if key.endswith("running_var") else tensor for key, tensor in given.items()}
    return Situation(build(), given, says=["it loads"], holds=holds)


@situation()
def a_model_that_asks_for_its_version() -> Situation:
    """MNASNet refuses what does not say which version saved it."""
    checkpoint = mnasnet0_5(num_classes=7)
    wrapped = nn.Module()
    wrapped.module = checkpoint
    given = wrapped.state_dict()
    holds = {key: t for key, t in tensors(checkpoint).items() if not key.startswith("classifier")}
    return Situation(mnasnet0_5(num_classes=4), given, says=["'module.'", "classes.*7.*4"], holds=holds)


@situation()
def the_version_was_lost() -> Situation:
    given = tensors(mnasnet0_5(num_classes=4))
    return Situation(mnasnet0_5(num_classes=4), given, says=["version"], holds=None, never=["^it loads"])


class Counting(nn.Linear):
    """Keeps beside its tensors how often it ran."""

    runs = 0

    def get_extra_state(self) -> dict[str, int]:
        return {"runs": self.runs}

    def set_extra_state(self, state: dict[str, int]) -> None:
        if self.runs == 0:
            self.register_buffer("ran", torch.tensor(float(state["runs"])))


@situation()
def what_lies_beside_the_tensors_goes_along() -> Situation:
    build = lambda: nn.Sequential(nn.Linear(3, 5), Counting(5, 4))
    checkpoint, wrapped = build(), nn.Module()
    checkpoint[1].runs = 7
    wrapped.module = checkpoint
    holds = tensors(checkpoint) | {"1.ran": torch.tensor(7.0)}
    return Situation(build(), dict(wrapped.state_dict()), says=["'module.'"], holds=holds)


@situation()
def what_lies_beside_the_tensors_was_lost() -> Situation:
    build = lambda: nn.Sequential(nn.Linear(3, 5), Counting(5, 4))
    given = tensors(build())
    return Situation(build(), given, says=["1._extra_state.*stays"], holds=given, never=["holds more"])
