"""How a device kind is spelled: everything known of a device by which the time of a step differs.

Pure functions of what a machine reports, so that the kinds of other machines can be tested here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

# What lowers the instruction set of a library that torch calls, in addition to ATEN_CPU_CAPABILITY, which torch reports itself.
_LIMITS = {
    "oneDNN at most": ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"),  # oneDNN reads the first of them that is set
    "MKL at most": ("MKL_ENABLE_INSTRUCTIONS",),
    "MKL branch": ("MKL_CBWR",),
}
_NO_LIMIT = ("", "DEFAULT", "ALL")
# bf16 products: flag in /proc/cpuinfo (x86, then ARM), and its name. The first that a CPU has is the one that is used.
_BF16 = {"amx_bf16": "AMX-BF16", "avx512_bf16": "AVX512-BF16", "bf16": "BF16"}
# Lines of /proc/cpuinfo that distinguish models of one name: those of x86, and those of ARM, where there is no name.
_MODEL = {
    "cpu family": "family",
    "model": "model",
    "stepping": "stepping",
    "CPU implementer": "implementer",
    "CPU part": "part",
    "CPU variant": "variant",
    "CPU revision": "revision",
}
_GIB = 1 << 30


def cpu_kind(cpuinfo: str, name: str, capability: str, environment: Mapping[str, str]) -> str:
    """Kind of a CPU, such as `cpu:AMD EPYC 9654 (family 25, model 17, stepping 1, AVX512, AVX512-BF16)`.

    `cpuinfo` is the text of /proc/cpuinfo, empty where there is none; its first processor stands for all. `name` is used where
    it has no model name. `capability` is torch's (`torch.backends.cpu.get_cpu_capability()`), which ATEN_CPU_CAPABILITY lowers;
    `environment` has the variables that lower oneDNN and MKL, named as they are set: `oneDNN at most AVX2`.
    """
    fields = _first_processor(cpuinfo)
    flags = {*fields.get("flags", "").split(), *fields.get("Features", "").split()}
    facts = [f"{short} {fields[key]}" for key, short in _MODEL.items() if key in fields]
    facts += [capability, *[spelled for flag, spelled in _BF16.items() if flag in flags][:1], *_limits(environment)]
    return f"cpu:{fields.get('model name') or name} ({', '.join(facts)})"


def gpu_kind(name: str, memory_bytes: int, multiprocessors: int) -> str:
    """Kind of a CUDA device, such as `cuda:NVIDIA H100 80GB HBM3 (79 GiB, 132 multiprocessors)`.

    A part of a divided GPU has its MIG profile in its name (`... MIG 1g.10gb`), and its own memory and multiprocessors: these
    distinguish profiles where a driver leaves the name as it is. Memory is rounded to GiB, since drivers differ by some MiB.
    """
    return f"cuda:{name} ({memory_bytes / _GIB:.0f} GiB, {multiprocessors} multiprocessors)"


def short_kinds(kinds: Collection[str]) -> dict[str, str]:
    """Each kind as a narrow column has it: in brackets only what other kinds of the same name do not all have."""
    facts: dict[str, dict[str, list[str]]] = {}
    for kind in kinds:
        name, _, bracket = kind.partition(" (")
        facts.setdefault(name, {})[kind] = bracket.removesuffix(")").split(", ")
    short = {}
    for name, found in facts.items():
        common = set.intersection(*map(set, found.values()))
        for kind, own in found.items():
            differs = [fact for fact in own if fact not in common]
            short[kind] = f"{name} ({', '.join(differs)})" if differs else name
    return short


def _first_processor(cpuinfo: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, colon, value = line.partition(":")
        if key.strip() == "processor" and "processor" in fields:
            break
        if colon:
            fields[key.strip()] = " ".join(value.split())
    return fields


def _limits(environment: Mapping[str, str]) -> Iterator[str]:
    for words, names in _LIMITS.items():
        value = next((environment[name] for name in names if name in environment), "").upper()
        if value not in _NO_LIMIT:
            yield f"{words} {value}"
