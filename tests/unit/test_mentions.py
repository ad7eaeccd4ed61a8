"""Mentions: what names a building block of AI, and what only looks like it."""

from __future__ import annotations

import json
import re
import time

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.mentions import build_mentions, load_mentions
from tests.factory import inverted

MENTIONS = load_mentions()
PATTERNS = [
    (mention, pattern)
    for mention in MENTIONS.mentions
    for pattern in (*mention.names, *mention.exact, *mention.ambiguous)
]
LLM = "We fine-tune large language models."
ENTRY = {"id": "x", "name": "X", "kind": "model", "source": "s", "names": ["xx"], "hints": ["xx"]}


@pytest.mark.parametrize(
    ("title", "text", "expected"),
    [
        ("PyTorch, TensorFlow and scikit-learn", "", "pytorch scikit-learn tensorflow"),
        ("Autodiff in JAX", "Gradients on GPUs", "jax"),
        ("Keras on ONNX", "", "keras onnx"),
        ("Attention is all you need", "a network, the Transformer, based on attention", "transformer"),
        ("Vision Transformers with ViT-B/16", "", "transformer vision-transformer"),
        ("RoBERTa, DistilBERT and mBERT", "", "bert"),
        ("KinyaBERT: a language model", "", "bert"),
        ("Flan-T5 beats T5", LLM, "t5"),
        ("ChatGPT and GPT-4o", "", "gpt"),
        ("LLaMA-2 and Code Llama", "", "llama"),
        ("Asking Llama", LLM, "llama"),
        ("Qwen2.5-VL, DeepSeek-R1", "", "deepseek qwen"),
        ("Mixtral of experts", "", "mistral"),
        ("Gemma and Falcon", LLM, "falcon gemma"),
        ("Phi-2 against Yi-34B", LLM, "phi yi"),
        ("ChatGLM, Baichuan2, InternLM2", "", "baichuan chatglm internlm"),
        ("BLOOM and OPT-175B", LLM, "bloom opt"),
        ("Vicuna and Alpaca", LLM, "alpaca vicuna"),
        ("Editing images with Stable Diffusion", "", "stable-diffusion"),
        ("CLIP for zero-shot retrieval", "", "clip"),
        ("Segment Anything with MedSAM", "", "segment-anything"),
        ("Robust speech recognition with Whisper", "", "whisper"),
        ("DINOv2", "", "dino"),
        ("YOLOv8 and YOLO-NAS", "", "yolo"),
        ("nnU-Net, UNet++ and ResNet-50", "", "resnet u-net"),
        ("AlphaFold2 at work", "", "alphafold"),
        ("Trained on ImageNet-1K with HuggingFace", "", "hugging-face imagenet"),
        ("LLaVA-1.5, XGBoost, OpenCV", "", "llava opencv xgboost"),
    ],
)
def test_what_a_text_names(title, text, expected):
    assert MENTIONS.find(title, text) == tuple(expected.split())


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("Llamas and alpacas in the Andes", "A language model of herds of llama; camelids of the highland"),
        ("Llama nanobodies", "We use a protein language model on nanobodies from llama and alpaca"),
        ("The mistral", "A strong wind in the Rhône valley; natural language reports of Mistral winds"),
        ("The Mistral satellite and the ship Mistral", "an amphibious assault ship"),
        ("Fault diagnosis of power transformers by deep learning", "The transformer is monitored by neural networks"),
        ("Dissolved gas analysis", "A neural network learns from transformer oil; the transformer fails"),
        ("Distribution transformer loading", "Machine learning prediction of the transformer load"),
        ("Spatial transformer networks", ""),
        ("Transformers: the film franchise", "Autobots in a neural age, recognition of Transformers"),
        ("Bert Vogelstein and cancer genetics", "Bert de Vos on natural language"),
        ("HILBERT SPACES AND ROBERT", "GILBERT, HERBERT AND ALBERT"),
        ("Peregrine falcon", "A Falcon is a bird of prey; large language models of raptors"),
        ("Falcon 9 landings", "Language models read SpaceX rockets' logs"),
        ("They whisper", "to whisper the word; Whisper it; whispered speech recognition"),
        ("Algal bloom", "A BLOOM of algae; language models for cyanobacteria"),
        ("JAX mice", "The Jackson Laboratory (JAX) and machine learning"),
        ("Gemma Jones on gemma cups", "Gemma is a name"),
        ("The angle phi-2", "phi = 0.5 and phi coefficient; Phi-3 of an Euler angle"),
        ("Yi and Yi", "J. Yi, the Yi language, Yi-Fan"),
        ("Sam and SAM", "SAM format of sequence alignment; Sam said so; sharpness-aware minimization (SAM)"),
        ("A video clip", "We clip gradients of images; clips of videos; CLIP-seq of RNA"),
        ("We opt for it", "to opt out; OPT-out with language models"),
        ("Pain at T5", "the T5 vertebra, in natural language"),
        ("Kera and the keratin", "keratinocytes"),
        ("Stable diffusion of hydrogen in alloys", "the diffusion coefficient; images of a surface"),
        ("Serum GPT", "glutamic pyruvic transaminase, artificial intelligence, language"),
        ("AI as a GPT", "a general-purpose technology; generative"),
        ("A dinosaur named Dino", "self-supervised learning; the dino"),
        ("GLM for counts", "a generalised linear model (GLM)"),
        ("Residual network flows", "unit networks"),
        ("Mistral and Gemma", ""),
        ("", ""),
    ],
)
def test_what_only_looks_like_a_mention_is_none(title, text):
    assert MENTIONS.find(title, text) == ()


@pytest.mark.parametrize(("mention", "pattern"), PATTERNS, ids=lambda value: getattr(value, "id", None))
def test_hints_miss_nothing_that_a_pattern_matches(mention, pattern):
    @settings(max_examples=25)
    @given(st.from_regex(rf"\A(?:{pattern})\Z"))
    def check(match: str) -> None:
        text = f"on {match} here"
        assert any(hint in text.casefold() for hint in mention.hints)
        raw = pa.array([text.encode(), json.dumps(inverted(text)).encode()], pa.binary())
        assert pc.match_substring_regex(raw, MENTIONS.hint_pattern, ignore_case=True).to_pylist() == [True, True]
        if pattern not in mention.ambiguous:
            assert mention.is_in(text, text.casefold()) or any(re.search(never, text, re.I) for never in mention.never)

    check()


def test_most_texts_hold_no_hint():
    pattern = re.compile(MENTIONS.hint_pattern, re.IGNORECASE)
    assert not pattern.search("We study samples of activity and the philosophy of optimisation in the British economy")


@pytest.mark.parametrize(
    "text", ["a" * 200_000, "aB-" * 70_000, "transformer " * 20_000, "u-" * 100_000, "llama-" * 40_000]
)
def test_hostile_texts_take_linear_time(text):
    started = time.process_time()
    MENTIONS.find("BERT llama clip CLIP transformers", text)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "gadget"}, "unknown kind"),
        ({"source": ""}, "without a source"),
        ({"hints": []}, "hints are parts of words"),
        ({"hints": ["XX"]}, "hints are parts of words"),
        ({"hints": ["x x"]}, "hints are parts of words"),
        ({"ambiguous": ["x"]}, "need a context"),
        ({"context": ["x"]}, "need a context"),
        ({"names": []}, "some name is needed"),
        ({"names": ["("]}, "no regular expression"),
        ({"nams": ["x"]}, "unknown keys"),
    ],
)
def test_bad_entries_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        build_mentions({"version": "1", "mention": [ENTRY | change]})


def test_an_id_stands_once_and_named_contexts_are_filled_in():
    with pytest.raises(ValueError, match="named twice"):
        build_mentions({"version": "1", "mention": [ENTRY, ENTRY]})
    entry = ENTRY | {"names": [], "ambiguous": ["xx"], "context": ["lab"]}
    found = build_mentions({"version": "1", "contexts": {"lab": ["mice", "rats"]}, "mention": [entry]})
    assert found.find("xx and rats", "") == ("x",)
    assert found.find("xx in the lab", "") == ()
