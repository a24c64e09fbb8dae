"""Peak memory of the GPT training step: tinyattn beside PyTorch and JAX.

    python -m benchmarks.memory [--json]

Two measures, each in a process of its own:

- *tensors*: most bytes of tensors alive at once: parameters, moments, gradients and intermediate values. Ours
  is known before the first step (leaves + `program.peak_bytes`); PyTorch's is the running sum of what its
  profiler saw being allocated and freed; JAX's is what XLA says of the compiled step.
- *process*: growth of the resident memory, from after a step of a tiny model (by which libraries, threads and
  kernels are loaded) to the peak over building the model and five steps.

A ratio below 1 means that tinyattn needs less.
"""

import argparse
import json
import subprocess
import sys

GOAL = 0.7
STEPS = 5
LIBRARIES = ("tinyattn", "torch", "jax")
TINY = {"layers": 1, "width": 16, "block": 8, "vocabulary": 11}


def resident(field: str) -> int:
    """Bytes of a line of this process's status: VmRSS now, VmHWM at most so far."""
    with open("/proc/self/status", encoding="ascii") as lines:
        (line,) = (line for line in lines if line.startswith(field))
    return int(line.split()[1]) * 1024


def our_tensors(*programs) -> int:
    """Leaves that the programs read or update, and their arenas."""
    leaves = {id(array): array.nbytes for program in programs for array in program.assembly.keep}
    return sum(leaves.values()) + sum(program.peak_bytes for program in programs)


def torch_tensors(step, *optimizers) -> int:
    """What lives between steps, and the peak of the running sum over one step."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    state = [value for one in optimizers for entry in one.state.values() for value in entry.values()]
    kept = [*step.model.parameters(), *(w.grad for w in step.model.parameters()), *state]
    alive = highest = sum(tensor.nbytes for tensor in kept if isinstance(tensor, torch.Tensor))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        step()
    events = [e for e in watched.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        highest = max(highest, alive)
    return highest


def jax_tensors(step) -> int:
    """Arguments (parameters, moments, batch; results take their place) and temporary memory."""
    found = step._step.lower(*step.arguments()).compile().memory_analysis()
    return found.argument_size_in_bytes + found.temp_size_in_bytes


def measure(library: str) -> tuple[int, int]:
    """(tensors, process) in bytes, in this process."""
    from . import harness, steps

    harness.set_threads(2)
    tiny = steps.build("gpt", library, 2, **TINY)
    tiny()
    before = resident("VmRSS")
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")  # VmHWM begins anew
    step = steps.build("gpt", library, 12)
    for _ in range(STEPS):
        step()
    grown = resident("VmHWM") - before
    if library == "tinyattn":
        return our_tensors(step.program), grown
    return torch_tensors(step, step.optimizer) if library == "torch" else jax_tensors(step), grown


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak memory of the GPT step")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--measure", choices=LIBRARIES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(*measure(options.measure))
        return
    found: dict[str, tuple[int, int]] = {}
    for library in LIBRARIES:
        command = [sys.executable, "-m", "benchmarks.memory", "--measure", library]
        out = subprocess.run(command, check=False, capture_output=True, text=True)
        if out.returncode:
            print(f"{library}: skipped ({out.stderr.strip().splitlines()[-1]})", file=sys.stderr)
            continue
        tensors, grown = map(int, out.stdout.split()[-2:])
        found[library] = tensors, grown
    if options.json:
        print(
            json.dumps({name: {"tensors": t, "process": p, "goal": GOAL} for name, (t, p) in found.items()})
        )
        return
    print(f"{'GPT step, batch 12':20}{'tensors, MB':>12}{'process, MB':>12}{'ours / it':>16}{'at most':>9}")
    ours = found["tinyattn"]
    for name, sizes in found.items():
        cells = "".join(f"{size / 1e6:>12.1f}" for size in sizes)
        shares = [mine / its for mine, its in zip(ours, sizes, strict=True)]
        print(f"{name:20}{cells}{shares[0]:>8.2f}{shares[1]:>8.2f}{GOAL if name == 'torch' else '':>9}")


if __name__ == "__main__":
    main()
