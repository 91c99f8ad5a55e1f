"""Loading is strict, saving is whole."""

import json
import logging
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from minibert import (
    DistilBertForMaskedLM,
    DistilBertForSequenceClassification,
    DistilBertModel,
)
from minibert.pretrained import tensor_names
from tests import ROOT
from tests.parity import wake_up
from tests.tiny import IDS, TINY, tiny

MODELS = (DistilBertModel, DistilBertForMaskedLM, DistilBertForSequenceClassification)
HEAD = ["pre_classifier.weight", "pre_classifier.bias", "classifier.weight", "classifier.bias"]


def saved(folder: Path, model_class=DistilBertForSequenceClassification) -> Path:
    wake_up(model_class(TINY)).save_pretrained(folder)
    return folder


def rewrite(folder: Path, change) -> None:
    """Save the folder's tensors again as change(tensors) leaves or returns them."""
    tensors = load_file(folder / "model.safetensors")
    tensors = change(tensors) or tensors
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def reconfigure(folder: Path, **fields) -> None:
    found = json.loads((folder / "config.json").read_text()) | fields
    (folder / "config.json").write_text(json.dumps(found))


# Round trips


@pytest.mark.parametrize("model_class", MODELS)
def test_a_model_comes_back_as_it_was_saved(model_class, tmp_path: Path, caplog) -> None:
    model = wake_up(model_class(TINY)).eval()
    model.save_pretrained(tmp_path)
    again = model_class.from_pretrained(tmp_path)
    assert again.config == model.config
    assert not again.training and again.fresh == []
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    assert caplog.records == []


@pytest.mark.parametrize("model_class", MODELS)
def test_a_save_of_a_load_is_byte_identical(model_class, tmp_path: Path) -> None:
    first, second = saved(tmp_path / "first", model_class), tmp_path / "second"
    model_class.from_pretrained(first).save_pretrained(second)
    for name in ("model.safetensors", "config.json"):
        assert (second / name).read_bytes() == (first / name).read_bytes()
    assert sorted(os.listdir(second)) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("model_class", MODELS)
def test_transformers_loads_what_we_save(model_class, tmp_path: Path) -> None:
    model = wake_up(model_class(TINY)).eval()
    model.save_pretrained(tmp_path)
    theirs, report = getattr(transformers, model_class.__name__).from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    name = "last_hidden_state" if model_class is DistilBertModel else "logits"
    assert_close(getattr(model(IDS), name), getattr(theirs(IDS), name), rtol=0, atol=2e-5)


@pytest.mark.parametrize("model_class", MODELS)
def test_we_load_what_transformers_saves(model_class, tmp_path: Path, caplog) -> None:
    fields = json.loads(TINY.to_json(model_class.__name__))
    their_config = transformers.DistilBertConfig.from_dict(fields)
    theirs = wake_up(getattr(transformers, model_class.__name__)(their_config)).eval()
    theirs.save_pretrained(tmp_path)
    ours = model_class.from_pretrained(tmp_path)
    name = "last_hidden_state" if model_class is DistilBertModel else "logits"
    assert_close(getattr(ours(IDS), name), getattr(theirs(IDS), name), rtol=0, atol=2e-5)
    assert not [r for r in caplog.records if r.name.startswith("minibert")]


def test_a_loaded_model_owns_its_weights(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    before = (folder / "model.safetensors").read_bytes()
    model = DistilBertForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        model.classifier.weight.zero_()
    assert (folder / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_load_as_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    folder = saved(tmp_path)
    rewrite(folder, lambda tensors: {name: t.to(dtype) for name, t in tensors.items()})
    model = DistilBertForSequenceClassification.from_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    for name, parameter in model.named_parameters():
        assert parameter.dtype == torch.float32
        assert torch.equal(parameter, tensors[name].float()), name


def test_float64_files_load_as_float32_or_are_refused_where_it_does_not_reach(tmp_path) -> None:
    folder = saved(tmp_path)
    rewrite(folder, lambda tensors: {name: t.double() for name, t in tensors.items()})
    assert DistilBertForSequenceClassification.from_pretrained(folder).dtype == torch.float32

    def enlarge(tensors: dict) -> dict:
        tensors["classifier.bias"][0] = 1e39
        return tensors

    rewrite(folder, enlarge)
    with pytest.raises(ValueError, match=r"classifier\.bias holds NaN or infinity"):
        DistilBertForSequenceClassification.from_pretrained(folder)


# Heads


def test_an_encoder_is_read_with_or_without_the_prefix_of_its_names(tmp_path: Path) -> None:
    with_prefix = saved(tmp_path / "with", DistilBertForMaskedLM)
    tensors = load_file(with_prefix / "model.safetensors")
    encoder = DistilBertModel.from_pretrained(with_prefix)
    encoder.save_pretrained(tmp_path / "without")
    assert "embeddings.word_embeddings.weight" in load_file(tmp_path / "without/model.safetensors")
    again = DistilBertForMaskedLM.from_pretrained(tmp_path / "without")
    for name, parameter in again.distilbert.named_parameters():
        assert torch.equal(parameter, tensors[f"distilbert.{name}"]), name


def test_a_missing_head_is_named_in_one_line_and_nothing_else_is_random(tmp_path, caplog) -> None:
    folder = saved(tmp_path, DistilBertForMaskedLM)
    model = DistilBertForSequenceClassification.from_pretrained(folder, num_labels=5)
    assert model.fresh == HEAD
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    message = record.getMessage()
    assert "\n" not in message and str(folder) in message
    assert all(name in message for name in HEAD) and "embeddings" not in message
    tensors = load_file(folder / "model.safetensors")
    for name, parameter in model.distilbert.named_parameters():
        assert torch.equal(parameter, tensors[f"distilbert.{name}"]), name
    assert 0.01 < model.pre_classifier.weight.std() < 0.03
    assert (model.classifier.bias == 0).all()


@pytest.mark.slow
def test_the_notice_is_one_line_on_standard_error(tmp_path: Path) -> None:
    folder = saved(tmp_path, DistilBertModel)
    code = "import sys, minibert; minibert.DistilBertForMaskedLM.from_pretrained(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and "vocab_layer_norm.weight" in done.stderr


def test_a_new_head_depends_on_the_seed_alone(tmp_path: Path) -> None:
    folder = saved(tmp_path, DistilBertModel)
    heads = []
    for seed in (7, 7, 8):
        torch.manual_seed(seed)
        model = DistilBertForSequenceClassification.from_pretrained(folder)
        heads.append(torch.cat([model.pre_classifier.weight.flatten(), model.classifier.weight[0]]))
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_other_tasks_heads_and_old_position_ids_are_left_alone(tmp_path: Path, caplog) -> None:
    folder = saved(tmp_path)
    before = DistilBertForSequenceClassification.from_pretrained(folder)(IDS).logits

    def add(tensors) -> None:
        tensors["qa_outputs.weight"] = torch.zeros(2, 8)
        tensors["vocab_transform.weight"] = torch.zeros(3, 3)
        tensors["distilbert.embeddings.position_ids"] = torch.arange(16)[None]

    rewrite(folder, add)
    after = DistilBertForSequenceClassification.from_pretrained(folder)(IDS).logits
    assert torch.equal(before, after) and caplog.records == []


def test_tensor_names_tell_which_heads_a_checkpoint_has(tmp_path: Path) -> None:
    assert set(HEAD) < tensor_names(saved(tmp_path))
    assert "embeddings.LayerNorm.weight" in tensor_names(tmp_path)
    assert "vocab_transform.weight" not in tensor_names(tmp_path)


# The tied projection


def test_the_tied_projection_is_saved_once_and_tied_after_loading(tmp_path: Path) -> None:
    folder = saved(tmp_path, DistilBertForMaskedLM)
    assert "vocab_projector.weight" not in load_file(folder / "model.safetensors")
    model = DistilBertForMaskedLM.from_pretrained(folder)
    assert model.vocab_projector.weight is model.distilbert.embeddings.word_embeddings.weight


def test_a_file_with_the_copy_of_the_tied_projection_loads_the_same(tmp_path: Path) -> None:
    folder = saved(tmp_path, DistilBertForMaskedLM)
    before = DistilBertForMaskedLM.from_pretrained(folder)(IDS).logits

    def copy(tensors) -> None:
        words = tensors["distilbert.embeddings.word_embeddings.weight"]
        tensors["vocab_projector.weight"] = words.clone()

    rewrite(folder, copy)
    assert torch.equal(DistilBertForMaskedLM.from_pretrained(folder)(IDS).logits, before)


def test_a_head_that_is_no_longer_tied_is_not_saved(tmp_path: Path) -> None:
    model = DistilBertForMaskedLM(tiny())
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(state, assign=True)
    model.save_pretrained(tmp_path / "equal")  # two tables of the same numbers
    state["vocab_projector.weight"] += 1
    model.load_state_dict(state, assign=True)
    with pytest.raises(ValueError, match=r"vocab_projector\.weight differs from the word"):
        model.save_pretrained(tmp_path / "other")
    assert not (tmp_path / "other").exists()
    with pytest.raises(ValueError, match="name a folder"):
        model.save_pretrained("")


def test_a_projection_that_is_not_the_word_embeddings_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path, DistilBertForMaskedLM)
    rewrite(folder, lambda t: {**t, "vocab_projector.weight": torch.zeros(50, 8)})
    with pytest.raises(ValueError, match=r"model\.safetensors: vocab_projector\.weight differs"):
        DistilBertForMaskedLM.from_pretrained(folder)
    DistilBertModel.from_pretrained(folder)  # whom it does not concern


# Names


def test_gamma_and_beta_are_weight_and_bias_as_whole_parts_of_a_name(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    before = DistilBertForSequenceClassification.from_pretrained(folder)(IDS).logits

    def old_names(tensors) -> dict:
        renamed = {}
        for name, tensor in tensors.items():
            if "norm." in name.lower():
                name = name.replace(".weight", ".gamma").replace(".bias", ".beta")
            renamed[name] = tensor
        renamed["gamma_head.betas"] = torch.zeros(1)  # no whole part: another head's own name
        return renamed

    rewrite(folder, old_names)
    assert torch.equal(
        DistilBertForSequenceClassification.from_pretrained(folder)(IDS).logits, before
    )
    assert "gamma_head.betas" in tensor_names(folder)


def test_two_names_for_one_tensor_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    rewrite(folder, lambda t: {**t, "distilbert.embeddings.LayerNorm.gamma": torch.ones(8)})
    with pytest.raises(ValueError, match=r"LayerNorm.* are both embeddings\.LayerNorm\.weight"):
        DistilBertForSequenceClassification.from_pretrained(folder)


# Refusals


@pytest.mark.parametrize("model_class", MODELS)
def test_every_missing_encoder_tensor_is_an_error_that_names_it(model_class, tmp_path) -> None:
    folder = saved(tmp_path, model_class)
    whole = load_file(folder / "model.safetensors")
    for name in whole:
        short = name.removeprefix("distilbert.")
        if not short.startswith(("embeddings.", "transformer.")):
            continue
        rest = {other: tensor for other, tensor in whole.items() if other != name}
        save_file(rest, folder / "model.safetensors")
        with pytest.raises(ValueError) as caught:
            model_class.from_pretrained(folder)
        assert short in str(caught.value) and str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("n_layers", "message"),
    [
        (1, r"unexpected tensor distilbert\.transformer\.layer\.1\..* and 15 more"),
        (3, r"no tensor transformer\.layer\.2\."),
    ],
)
def test_a_layer_too_many_or_too_few_is_an_error_that_names_it(tmp_path, n_layers, message) -> None:
    folder = saved(tmp_path)
    reconfigure(folder, n_layers=n_layers)
    with pytest.raises(ValueError, match=message):
        DistilBertForSequenceClassification.from_pretrained(folder)


def test_an_unknown_tensor_inside_the_encoder_is_an_error_that_names_it(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    rewrite(folder, lambda t: {**t, "distilbert.embeddings.extra": torch.ones(8)})
    with pytest.raises(
        ValueError, match=r"unexpected tensor distilbert\.embeddings\.extra in the file"
    ):
        DistilBertForSequenceClassification.from_pretrained(folder)


def test_a_wrong_shape_is_an_error_with_the_tensor_and_both_shapes(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    name = "distilbert.transformer.layer.1.ffn.lin1.weight"
    rewrite(folder, lambda t: {**t, name: t[name].T.contiguous()})
    with pytest.raises(ValueError, match=rf"{name} has shape \(8, 24\), .* should be \(24, 8\)"):
        DistilBertForSequenceClassification.from_pretrained(folder)


def test_another_number_of_labels_is_an_error_that_names_num_labels(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    message = r"classifier\.weight has shape \(3, 8\), but by num_labels it should be \(5, 8\)"
    with pytest.raises(ValueError, match=message):
        DistilBertForSequenceClassification.from_pretrained(folder, num_labels=5)


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.float8_e4m3fn])
def test_weights_that_are_no_floats_are_an_error_that_names_the_tensor(dtype, tmp_path) -> None:
    folder = saved(tmp_path)
    name = "distilbert.transformer.layer.0.attention.q_lin.weight"
    rewrite(folder, lambda t: {**t, name: t[name].to(dtype)})
    with pytest.raises(ValueError, match=f"{name} is of type"):
        DistilBertForSequenceClassification.from_pretrained(folder)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    trap = tmp_path / "opened"

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(trap),)

    torch.save({"weight": Trap()}, folder / "pytorch_model.bin")
    with pytest.raises(OSError, match="convert them to safetensors"):
        DistilBertModel.from_pretrained(folder)
    assert not trap.exists()


# Atomic saving

LIMITED = """
import resource, signal, sys, torch, minibert
from tests.tiny import TINY
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    minibert.DistilBertForSequenceClassification(TINY).save_pretrained(sys.argv[1])
except OSError as error:
    sys.exit(f"OSError {error}")
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a limit on file sizes")
def test_a_full_disk_leaves_the_old_checkpoint_and_no_litter(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    before = {name: (folder / name).read_bytes() for name in os.listdir(folder)}
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, folder],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert "OSError" in done.stderr and "model.safetensors" in done.stderr
    assert {name: (folder / name).read_bytes() for name in os.listdir(folder)} == before


def test_the_new_file_appears_only_when_it_is_whole_and_on_disk(tmp_path, monkeypatch) -> None:
    folder = saved(tmp_path)
    before = (folder / "model.safetensors").read_bytes()
    events = []
    fsync = os.fsync

    def watch_fsync(descriptor) -> None:
        events.append("fsync")
        assert (folder / "model.safetensors").read_bytes() == before
        fsync(descriptor)

    def stop(source, target) -> None:
        events.append("replace")
        assert len(load_file(source)) == len(load_file(target))
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", watch_fsync)
    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        wake_up(DistilBertForSequenceClassification(TINY), seed=1).save_pretrained(folder)
    assert events == ["fsync", "replace"]
    assert (folder / "model.safetensors").read_bytes() == before
    assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors"]


def test_saving_where_a_file_stands_is_an_oserror(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        DistilBertModel(TINY).save_pretrained(tmp_path / "file")


@pytest.mark.slow
def test_loading_imports_nothing_heavy() -> None:
    """sympy alone, which torch imports for shapes of the meta device, takes half a second."""
    code = (
        "import sys, torch; before = set(sys.modules); import minibert; "
        "minibert.DistilBertModel.from_pretrained('demo'); "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"sympy", "huggingface_hub", "transformers"} & set(loaded.stdout.split())
