#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""compare.py GDB CKPT [NAMES]: gdb-frames.py's output and `ckpt show --stacks --json`, frame by frame. The place of the
innermost frame may differ by the two bytes of a system call that is going to be made again. The names of functions of
the program itself (NAMES: a regular expression of names) have to be the same; of libraries gdb takes those of the debug
information. Prints what differs and fails; prints how much was compared."""
import json
import re
import sys

gdb = {}
for line in open(sys.argv[1]):
    if line.startswith("@ "):
        _, tid, level, pc, name = line.split(None, 4)
        gdb.setdefault(int(tid), []).append((int(pc, 16), name.strip()))
ckpt, wrong, names = {}, 0, 0
want = re.compile(sys.argv[3] if len(sys.argv) > 3 else "$^")
for group in json.load(open(sys.argv[2]))["stacks"]:
    for tid in group["tids"]:
        ckpt[tid] = group


def plain(name):
    """shop::counter<int>::run(int) -> run"""
    name = re.sub(r"\{closure#\d+\}", "{{closure}}", name)
    while re.search(r"<[^<>]*>", name):
        name = re.sub(r"<[^<>]*>", "", name)
    return re.split(r"::|\.| ", name.split("(")[0].strip())[-1]


def bad(*what):
    global wrong
    wrong += 1
    print("differs:", *what)


for tid in sorted(set(gdb) | set(ckpt)):
    if tid not in gdb or tid not in ckpt:
        bad(tid, "is in", "gdb" if tid in gdb else "ckpt", "only")
        continue
    ours = ckpt[tid]["frames"]
    if "incomplete" in ckpt[tid]:
        bad(tid, "incomplete:", ckpt[tid]["incomplete"])
    # What called main() is not shown. gdb does, where main() is not that of the language.
    if ours and ours[-1].get("function") == "main":
        del gdb[tid][len(ours):]
    if len(ours) != len(gdb[tid]):
        bad(tid, "gdb has", len(gdb[tid]), "frames, ckpt", len(ours))
    for level, ((pc, name), frame) in enumerate(zip(gdb[tid], ours)):
        if pc != frame["ip"] and not (pc == gdb[tid][0][0] and pc - frame["ip"] == 2):
            bad(tid, "frame", level, hex(pc), hex(frame["ip"]), name, frame.get("function"))
        if (name == "<signal>") != frame.get("signal", False):
            bad(tid, "frame", level, "signal", name)
        if name.startswith("+") != frame.get("inlined", False):
            bad(tid, "frame", level, "inlined", name, frame.get("function"))
        name = name.lstrip("+")
        if want.match(name):
            names += 1
            if plain(frame.get("function", "??")) != plain(name):
                bad(tid, "frame", level, "gdb:", name, "ckpt:", frame.get("function"))
print(len(gdb), "threads,", sum(map(len, gdb.values())), "frames,", names, "names")
sys.exit(1 if wrong or not gdb else 0)
