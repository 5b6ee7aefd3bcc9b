"""Records every model of torchvision, of timm's families, of transformers, and of books, and compares each with PyTorch at another seed.

    python -m tests.python.libraries.sweep run [LIBRARY...] [--only WORD] [--again]
    python -m tests.python.libraries.sweep table

`run` (`make sweep`) appends a row for each constructor to target/sweep/LIBRARY.jsonl, so that it can be stopped and goes on;
`--again` repeats those that were constructed but were not equal. `table` writes docs/sweep.md from these rows.

Each constructor runs three times, in processes of their own with limits of time and memory: in Python at a seed, under the
recorder, and from the plan by `tch-init materialize` at that seed. Equal means every parameter and buffer, bit for bit,
and the state of the generator at the end.
"""

import argparse
import collections
import contextlib
import ctypes
import datetime
import hashlib
import importlib.metadata
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error", TRANSFORMERS_NO_ADVISORY_WARNINGS="1")
warnings.filterwarnings("ignore")

import torch  # noqa: E402

from ..record.proof import ROOT, record  # noqa: E402
from .books import BOOKS  # noqa: E402
from .proof import program  # noqa: E402

SEED, OTHER_SEED = 77, 4711
# Of the processor, so that a busy machine changes nothing.
SECONDS, GIGABYTES = 90, 4
FOLDER = os.path.join(ROOT, "target", "sweep")
TABLE = os.path.join(ROOT, "docs", "sweep.md")
SMALL = "tiny nano small atto pico femto _s 18 0 xx".split()
MOST_ELEMENTS = 250_000_000
with open(record.__file__, "rb") as file:
    RECORDER = hashlib.sha256(file.read()).hexdigest()[:8]  # which rows say that they are of


# ---------------------------------------------------------------- the constructors: (name, [constructor, ...]), the first that constructs


def torchvision():
    import torchvision

    for name in sorted(torchvision.models.list_models()):
        without = any(word in name for word in "rcnn retinanet ssd fcos deeplab fcn lraspp".split())
        options = {"weights": None, **({"weights_backbone": None} if without else {})}
        yield name, [lambda name=name, options=options: torchvision.models.get_model(name, **options)]


def timm():
    """Two models of each module: those whose names say that they are small come first, then the shorter names."""
    import timm
    from timm.models import _registry

    modules = collections.defaultdict(list)
    for name in timm.list_models():
        modules[_registry._model_to_module[name]].append(name)
    for module, names in sorted(modules.items()):
        names.sort(key=lambda name: (not any(word in name for word in SMALL), len(name), name))
        for name in names[:2]:
            yield f"{module}: {name}", [lambda name=name: timm.create_model(name, pretrained=False)]


def transformers():
    """The model of every config: of few layers and narrow if it constructs so, else with less changed, else the default."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    for kind in sorted(CONFIG_MAPPING.keys()):
        yield kind, [lambda kind=kind, rule=rule: of_config(kind, rule) for rule in RULES]


# Layers, the largest vocabulary, and what widths are divided by; None leaves the default.
RULES = [(2, 2000, 8), (2, 2000, 4), (2, 2000, None), (4, 2000, None), (6, 2000, None), (2, None, None), (None, 2000, None), (None, None, None)]
PLAIN = 2  # the rule that changes only what costs memory
LAYERS = re.compile(r"^(num_|n_)?(hidden_|encoder_|decoder_|text_|vision_|transformer_|block_)?(layers?|hidden_layers|depth|blocks)$|^num_(encoder|decoder)_layers$|^(encoder|decoder)_layers$")
WIDTHS = re.compile(r"^(d_model|d_ff|d_kv|n_embd|n_inner|dim|emb_dim|embed_dim|embedding_size|ffn_dim|head_dim|v_head_dim)$|(hidden|intermediate|embed|ffn|projection|kv_lora|q_lora|expert|mlp)_?\w*(size|dim|rank)$")
EXPERTS = re.compile(r"^(num_|n_)(local_|routed_)?experts$|^moe_num_experts$")


def shrink(config, layers, vocabulary, divisor):
    from transformers import PretrainedConfig

    counts = set()
    for key, value in list(vars(config).items()):
        new = value
        if isinstance(value, PretrainedConfig):
            shrink(value, layers, vocabulary, divisor)
        elif isinstance(value, bool) or not isinstance(value, int):
            continue
        elif layers and LAYERS.search(key) and value > layers:
            counts.add(value)
            new = layers
        elif vocabulary and key.endswith("vocab_size") and value > vocabulary:
            new = vocabulary
        elif vocabulary and key.endswith(("_id", "_index")) and value >= vocabulary:
            new = 1
        elif divisor and WIDTHS.search(key) and value >= 64 and value % divisor == 0:
            new = value // divisor
        elif divisor and EXPERTS.search(key) and value > 8:
            new = 8
        if new is not value:
            setattr(config, key, new)
    for key, value in list(vars(config).items()):
        if isinstance(value, (list, tuple)) and len(value) in counts:
            setattr(config, key, value[:layers])


def class_of(config_class):
    """The plain model of a config; else any model of its module."""
    import transformers
    from transformers.models.auto import modeling_auto

    mappings = [getattr(modeling_auto, name) for name in sorted(dir(modeling_auto)) if re.fullmatch(r"MODEL_(FOR_\w+_)?MAPPING", name)]
    for mapping in [modeling_auto.MODEL_MAPPING, modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING, *mappings]:
        try:
            found = mapping[config_class]
        except KeyError:
            continue
        return found[0] if isinstance(found, tuple) else found
    module = importlib.import_module(config_class.__module__.replace("configuration_", "modeling_"))
    found = [value for name, value in sorted(vars(module).items()) if isinstance(value, type) and issubclass(value, transformers.PreTrainedModel)
             and getattr(value, "config_class", None) is config_class and not name.endswith("PreTrainedModel")]
    if not found:
        raise LookupError("transformers has no model of this config")
    return min(found, key=lambda value: (not value.__name__.endswith("Model"), len(value.__name__)))


def of_config(kind, rule):
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    config_class = CONFIG_MAPPING[kind]
    model_class = class_of(config_class)
    config = config_class()
    shrink(config, *rule)
    return model_class(config)


def books():
    for name, construct in BOOKS.items():
        yield name, [construct]


LIBRARIES = {"torchvision": torchvision, "timm": timm, "transformers": transformers, "books": books}


# ---------------------------------------------------------------- one constructor


def in_child(function):
    """The JSON that a function returns in a process of its own, or why there is none."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        # Ends with its parent, which watches its memory.
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        try:
            answer = function()
        except record.Refused as error:
            answer = {"refused": str(error)}
        except BaseException as error:
            answer = {"error": record.described(error)}
        with os.fdopen(write, "w") as file:
            json.dump(answer, file)
        os._exit(0)
    os.close(write)
    why = None
    os.set_blocking(read, False)
    said = b""
    while True:
        try:
            part = os.read(read, 1 << 16)
            if not part:
                break
            said += part
            continue
        except BlockingIOError:
            pass
        if resident(child) > GIGABYTES << 30:
            why = f"more than {GIGABYTES} GB of memory"
        if why:
            os.kill(child, signal.SIGKILL)
            break
        time.sleep(0.02)
    os.close(read)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL):
        why = why or f"more than {SECONDS} seconds"
    if why:
        return {"limit": why}
    return json.loads(said) if said else {"error": "the process ended"}


def resident(process):
    """The memory of a process, or of one that it has forked: the recorder records in several."""
    try:
        with open(f"/proc/{process}/statm") as file:
            most = int(file.read().split()[1]) * resource.getpagesize()
        with open(f"/proc/{process}/task/{process}/children") as file:
            return max([most, *map(resident, file.read().split())])
    except OSError:
        return 0


def digest(dtype, shape, content):
    return hashlib.sha256(f"{dtype} {list(shape)} ".encode() + bytes(content)).hexdigest()


def digests(model):
    named = dict([*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)])
    found = {}
    for name, tensor in named.items():
        if isinstance(tensor, torch.nn.parameter.UninitializedTensorMixin):
            raise LookupError(f"{name} is lazy: it has no shape before the first forward")
        values = tensor.detach().resolve_conj().resolve_neg().contiguous()
        found[name] = digest(str(values.dtype)[6:], values.shape, record.memory(values))
    return found


def chosen(constructors):
    """The first of them that constructs without memory and is not too large, else the first that constructs, else one that only saves memory."""
    first = None
    for number, construct in enumerate(constructors[:-1]):
        try:
            with torch.device("meta"):
                model = construct()
        except Exception:
            continue
        if sum(p.numel() for p in model.parameters()) <= MOST_ELEMENTS:
            return number
        first = number if first is None else first
    return PLAIN if first is None else first


def constructed(construct):
    """What Python makes at the seed."""
    # Beside what is watched: memory that is taken faster. The recorder maps more than it uses.
    most = (GIGABYTES + 5) << 30
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    torch.manual_seed(SEED)
    model = construct()
    state = hashlib.sha256(bytes(torch.get_rng_state().numpy())).hexdigest()
    return {"tensors": digests(model), "state": state}


def recorded(construct, name, path):
    torch.manual_seed(OTHER_SEED)
    text, parts = record.plan_and_data(construct, name, os.path.basename(record.data_path(path)))
    record.write(text, parts, path)
    return {"bytes": len(text), "data": sum(map(len, parts))}


def materialized(tch_init, path, folder):
    weights, state = os.path.join(folder, "w.safetensors"), os.path.join(folder, "state")
    done = subprocess.run([tch_init, "materialize", path, "--seed", str(SEED), "-o", weights, "--state-out", state,
                           "--threads", "1", "--non-persistent"], capture_output=True, text=True)
    if done.returncode:
        return {"error": " ".join(done.stderr.split()).replace(folder, "")}
    from safetensors import safe_open

    found = {}
    with safe_open(weights, "pt") as file:
        for name in file.keys():
            tensor = file.get_tensor(name)
            found[name] = digest(str(tensor.dtype)[6:], tensor.shape, record.memory(tensor.contiguous()))
    with open(state, "rb") as file:
        return {"tensors": found, "state": hashlib.sha256(file.read()).hexdigest()}


def examined(tch_init, library, name, constructors):
    """The row of a constructor."""
    row = {"name": name}
    number = len(constructors) - 1
    if number:
        # In a process of its own: modules may keep what they have made.
        number = in_child(lambda: {"number": chosen(constructors)}).get("number", number)
    python = in_child(lambda: constructed(constructors[number]))
    if "tensors" not in python and len(constructors) > 1 and number != len(constructors) - 1:
        number = len(constructors) - 1
        python = in_child(lambda: constructed(constructors[number]))
    if "tensors" not in python:
        return {**row, "status": "not constructed", "why": python.get("error") or python.get("limit") or python.get("refused") or "?"}
    row["tensors"] = len(python["tensors"])
    if len(constructors) > 1:
        row["rule"] = number
    with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
        path = os.path.join(folder, "m.plan.json")
        plan = in_child(lambda: recorded(constructors[number], name, path))
        if "bytes" not in plan:
            return {**row, "status": "refused", "why": plan.get("refused") or plan.get("error") or plan.get("limit")}
        row.update(bytes=plan["bytes"], data=plan["data"])
        with open(path) as file:
            text = json.load(file)
        unset = {r[0] for r in text["parameters"] + text["buffers"] if r[2:] and r[2].get("unset")}
        made = in_child(lambda: materialized(tch_init, path, folder))
    if "tensors" not in made:
        return {**row, "status": "not materialized", "why": made.get("error") or made.get("limit")}
    if set(made["tensors"]) != set(python["tensors"]):
        return {**row, "status": "different", "why": "names"}
    wrong = [key for key, value in python["tensors"].items() if key not in unset and made["tensors"][key] != value]
    if wrong:
        return {**row, "status": "different", "why": f"{len(wrong)} of {row['tensors']} tensors: {wrong[0]}"}
    if made["state"] != python["state"]:
        return {**row, "status": "different", "why": "the generator's state"}
    return {**row, "status": "equal", **({"unset": sorted(unset)} if unset else {})}


# ---------------------------------------------------------------- all of them


def rows_of(library):
    try:
        with open(os.path.join(FOLDER, f"{library}.jsonl")) as file:
            rows = {row["name"]: row for row in map(json.loads, file)}
    except FileNotFoundError:
        return {}
    return rows


def warm():
    """Imports what the children would import, each again."""
    import safetensors  # noqa: F401
    import torch._dynamo  # noqa: F401

    with torch.device("meta"):
        torch.nn.Linear(2, 2)
    record.plan_of(lambda: torch.nn.TransformerEncoderLayer(8, 2, 8), "warm")


def run(libraries, only, again):
    torch.set_num_threads(1)
    warm()
    os.makedirs(FOLDER, exist_ok=True)
    tch_init = os.environ.get("TCH_INIT_PROGRAM") or program()
    # A copy, since a build may replace it.
    with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
        tch_init = shutil.copy(tch_init, folder)
        for library in libraries:
            done = rows_of(library)
            for name, constructors in LIBRARIES[library]():
                old = done.get(name)
                if any(word not in f"{library} {name}" for word in only) or old and not (again and old["status"] not in ("equal", "not constructed")):
                    continue
                if library == "transformers":
                    # Imported once, for all three processes.
                    with contextlib.suppress(Exception):
                        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

                        class_of(CONFIG_MAPPING[name])
                start = time.monotonic()
                row = examined(tch_init, library, name, constructors)
                row.update(seconds=round(time.monotonic() - start, 1), recorder=RECORDER)
                with open(os.path.join(FOLDER, f"{library}.jsonl"), "a") as file:
                    file.write(json.dumps(row) + "\n")
                print(library, name, row["status"], row.get("why", "")[:160], f"{row['seconds']} s", flush=True)


# ---------------------------------------------------------------- the table


def reason(why):
    """A reason without the paths, names and numbers of one model."""
    why = re.sub(r"\S+\.py:\d+: ", "", why)
    why = re.sub(r"/\S*/bin/python\S*", "python", why)
    why = re.sub(r"/\S*/(site-packages|\.models)/", "", why)
    why = re.sub(r"^[\w.]+: (?=aten::|the |a )", "", why)
    return why if len(why) < 150 else why[:147] + "..."


def version(package):
    return importlib.metadata.version(package).split("+")[0]


def table():
    counted = {library: rows_of(library) for library in LIBRARIES}
    kinds = "equal", "refused", "not materialized", "different"
    lines = ["# The sweep: models that are recorded", "",
             f"{datetime.date.today()}, with torch {version('torch')}, torchvision {version('torchvision')}, timm {version('timm')}, "
             f"transformers {version('transformers')}.",
             "`make sweep` (hours) writes this page; `tests/python/libraries/sweep.py` says how.", "",
             "Each constructor is recorded at one seed; `tch-init materialize` makes its tensors at another, and they are compared with what Python",
             "constructs at that one: every bit of every parameter and buffer, and the generator's state at the end.", "",
             "| library | constructors | construct in Python | recorded and equal | refused | not materialized | different | share |",
             "|---|---|---|---|---|---|---|---|"]
    total = collections.Counter()
    there = {library: [name for name, _ in constructors()] for library, constructors in LIBRARIES.items()}
    for library, rows in [*counted.items(), ("**all**", None)]:
        names = sum(there.values(), []) if rows is None else there[library]
        count = total if rows is None else collections.Counter(row["status"] for row in rows.values())
        tried = sum(count.values())
        construct = tried - count["not constructed"]
        share = f"{100 * count['equal'] / construct:.1f}%" if construct else ""
        shown = tried if tried == len(names) else f"{tried} so far, of {len(names)}"
        lines.append(f"| {library} | {shown} | {construct} | " + " | ".join(str(count[kind]) for kind in kinds) + f" | {share} |")
        total.update(count if rows is not None else {})
    recorders = collections.Counter(row.get("recorder", "earlier ones") for rows in counted.values() for row in rows.values())
    lines += ["", "Rows by the recorder that made them (the first digits of the SHA-256 of `python/record.py`): "
              + ", ".join(f"{count} by {recorder}" for recorder, count in sorted(recorders.items())) + "."]
    lines += ["", "- torchvision: every model of `list_models()`, without weights.",
              f"- timm: {' '.join((timm.__doc__ or '').split())} (small: {', '.join(SMALL)})",
              "- transformers: the model of every config of `CONFIG_MAPPING`: `AutoModel`'s, else that of another task, else one of its module. It is reduced by the first of",
              "  these that constructs: " + "; ".join(f"{i}: {described_rule(rule)}" for i, rule in enumerate(RULES)) + ".",
              f"  One of more than {MOST_ELEMENTS:,} parameters is passed over if a later one is smaller.",
              "- books: `tests/python/libraries/books.py`: models as tutorials and small repositories write them.",
              f"- Limits for each: {SECONDS} seconds, {GIGABYTES} GB.", "", "## Not recorded, or not equal", ""]
    wrong = collections.defaultdict(list)
    for library, rows in counted.items():
        for row in rows.values():
            if row["status"] in kinds[1:]:
                wrong[row["status"], reason(row["why"])].append(f"{library} {row['name']}")
    lines += ["| what | why | models |", "|---|---|---|"]
    for (status, why), names in sorted(wrong.items(), key=lambda item: (-len(item[1]), item[0])):
        lines.append(f"| {status} | {cell(why)} | {', '.join(sorted(names))} |")
    lines += ["", "## Not constructed in Python", "", "The library's own errors with these configs, and models that exceed the limits.", "", "| why | models |", "|---|---|"]
    failed = collections.defaultdict(list)
    for library, rows in counted.items():
        for row in rows.values():
            if row["status"] == "not constructed":
                failed[reason(row["why"])].append(row["name"])
    for why, names in sorted(failed.items(), key=lambda item: (-len(item[1]), item[0])):
        lines.append(f"| {cell(why)} | {', '.join(sorted(names))} |")
    unset = [f"{library} {row['name']}: {', '.join(row['unset'][:3])}{' ...' if len(row['unset']) > 3 else ''}"
             for library, rows in counted.items() for row in rows.values() if row.get("unset")]
    lines += ["", "## Left uninitialized by their constructors", "", "These tensors have no values in PyTorch that could be compared; plans have zeros.", ""]
    lines += [f"- {line}" for line in sorted(unset)] or ["None."]
    with open(TABLE, "w") as file:
        file.write("\n".join(lines) + "\n")
    print("\n".join(lines[8:15]))


def cell(text):
    return text.replace("|", "\\|").replace("<", "&lt;")


def described_rule(rule):
    layers, vocabulary, divisor = rule
    parts = [f"{layers} layers" if layers else "", f"a vocabulary of {vocabulary}" if vocabulary else "",
             f"widths divided by {divisor}, 8 experts" if divisor else ""]
    return ", ".join(part for part in parts if part) or "the default config"


def main():
    parser = argparse.ArgumentParser(description="Record every model of several libraries and compare it with PyTorch.")
    parser.add_argument("command", choices=["run", "table"])
    parser.add_argument("libraries", nargs="*", metavar="LIBRARY", help=", ".join(LIBRARIES))
    parser.add_argument("--only", action="append", default=[], metavar="WORD", help="only constructors whose name has it")
    parser.add_argument("--again", action="store_true", help="repeat those that were constructed but were not equal")
    options = parser.parse_args()
    unknown = set(options.libraries) - set(LIBRARIES)
    if unknown:
        parser.error(f"no library {', '.join(sorted(unknown))}; there are {', '.join(LIBRARIES)}")
    if options.command == "table":
        table()
    else:
        run(options.libraries or list(LIBRARIES), options.only, options.again)


if __name__ == "__main__":
    sys.exit(main())
