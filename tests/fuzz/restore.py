#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hostile images through the commands: restore.py [SECONDS [SEED]], in a build folder, $CKPT best with sanitizers; root.

Cases leave images of every kind. Records are changed, repeated, left out; checksums are made anew. Of some the pages are put
into several files first, and it may be these that are spoiled. Whatever it is then, ckpt says what is wrong, or restores: as an
ordinary user in namespaces of its own, which end with it. What ends by a signal, hangs, fails without a word, does not notice a
spoiled file or has a sanitizer complain is left in fuzz-build/hostile-*."""
import glob, os, random, re, shutil, struct, subprocess, sys, tempfile, time

CRC = []
for i in range(256):
    for _ in range(8):
        i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
    CRC.append(i)
EDGES = [0, 1, 2, 7, 63, 64, 65, 255, 4095, 4096, 65536, 1 << 22, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 47, (1 << 47) - 4096,
         (1 << 63) - 1, 1 << 63, (1 << 64) - 4096, (1 << 64) - 1]
TEXTS = [b"/", b"..", b"../../../etc/passwd", b"/proc/self/mem", b"/dev/null", b"a" * 5000, b"\0", b"%s%n", b"\xff\xfe", b"/tmp/x" * 900]
BODY = 6 << 3 | 2  # of message Record
SIZE, CRCS, PARENT, NEXT = 1 << 3, 3 << 3 | 2, 115 << 3 | 1, 283 << 3 | 2  # of message Checksums
MIB = 1 << 20  # a chunk
COMMANDS = [["verify"], ["show", "--raw"], ["show", "--stacks"], ["show", "--json"], ["plan"], ["core"], ["flatten", "-o", "flat"],
            ["restore", "-d"]]


def crc32c(crc, data):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = CRC[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


ZEROES = crc32c(0, bytes(MIB))


def get_varint(data, at):
    value = shift = 0
    while at < len(data) and shift < 64:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at
    raise ValueError


def put_varint(value):
    out, value = b"", value & (1 << 64) - 1
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def fields_of(data):
    """[tag, value] of each field of a message; ValueError if it is none."""
    fields, at = [], 0
    while at < len(data):
        tag, at = get_varint(data, at)
        if tag & 7 == 0:
            value, at = get_varint(data, at)
        else:
            size = {1: 8, 5: 4}.get(tag & 7)
            if tag & 7 == 2:
                size, at = get_varint(data, at)
            if size is None or tag < 8 or at + size > len(data):
                raise ValueError
            value, at = data[at:at + size], at + size
        fields.append([tag, value])
    return fields


def message_of(fields):
    out = b""
    for tag, value in fields:
        out += put_varint(tag)
        if tag & 7 == 2:
            out += put_varint(len(value))
        out += value if tag & 7 else put_varint(value)
    return out


def other_number(rnd, n):
    return rnd.choice([rnd.choice(EDGES), n + rnd.choice([-4096, -1, 1, 8, 4096]), rnd.randrange(40), n ^ 1 << rnd.randrange(64),
                       rnd.getrandbits(rnd.randrange(1, 65))])


def other_bytes(rnd, data):
    way = rnd.randrange(6)
    if way == 0:
        return data[:rnd.randrange(len(data) + 1)]
    if way == 1:
        return data + rnd.randbytes(rnd.randrange(1, 9))
    if way == 2:
        return data * rnd.choice([2, 3, 300])
    if way == 3:
        return rnd.choice(TEXTS)
    if way == 4:  # a packed list?
        try:
            numbers, at = [], 0
            while at < len(data):
                n, at = get_varint(data, at)
                numbers.append(n)
            i = rnd.randrange(len(numbers))
            numbers[i:i + 1] = rnd.choice([[], [other_number(rnd, numbers[i])], [numbers[i]] * 2])
            return b"".join(map(put_varint, numbers))
        except ValueError:
            pass
    data = bytearray(data)
    for _ in range(rnd.randrange(1, 4) if data else 0):
        data[rnd.randrange(len(data))] = rnd.randrange(256)
    return bytes(data)


def changed(rnd, data, envelope=False):
    try:
        fields = fields_of(data)
    except ValueError:
        return other_bytes(rnd, data)
    if not fields:
        return other_bytes(rnd, data)
    i = rnd.randrange(len(fields))
    if envelope and rnd.random() < .85:
        i = next((k for k, f in enumerate(fields) if f[0] == BODY), i)
    tag, value = fields[i]
    if rnd.random() < .2 and not (envelope and tag == BODY):
        fields[i:i + 1] = [fields[i]] * rnd.choice([0, 0, 2, 2, 5, 1000])
    elif tag & 7 == 0:
        fields[i][1] = other_number(rnd, value)
    elif tag & 7 == 2 and rnd.random() < .8:
        fields[i][1] = changed(rnd, value)
    else:
        fields[i][1] = other_bytes(rnd, value) if tag & 7 == 2 else rnd.randbytes(len(value))
    return message_of(fields)


def load(path):
    """The header, and the records without the trailer."""
    data, at, records = open(path, "rb").read(), 16, []
    while at < len(data):
        size = struct.unpack_from("<I", data, at)[0]
        records.append(data[at + 8:at + 8 + size])
        at += 8 + size
    return data[:16], records[:-1]


def save(path, header, records):
    out, crc, name = header, 0, 0
    for i, record in enumerate(records + [None]):
        if record is None:
            body = b"\x08" + put_varint(i) + struct.pack("<BIBQ", 0x15, crc, 0x19, name)
            record = b"\x0a\x07trailer\x32" + put_varint(len(body)) + body
        size = struct.pack("<I", len(record))
        own = crc32c(crc32c(0, size), record)
        out += size + struct.pack("<I", own) + record
        crc = crc32c(crc, struct.pack("<I", own))
        name = ((name ^ (len(record) << 32 | own)) + 0x9E3779B97F4A7C15) * 0xBF58476D1CE4E5B9 & (1 << 64) - 1
        name ^= name >> 29
    with open(path, "wb") as f:
        f.write(out)


def images():
    """Of the first stories of every case, with the folders that they need."""
    for case in sorted(glob.glob("tests/cases/*")):
        if not os.access(case, os.X_OK) or "." in case or "inproc" in case:
            continue
        for story in "123":
            run = subprocess.run([case, "@inject-user-running", story], env=dict(os.environ, CKPT_CASE_KEEP="1"), text=True,
                                 stdin=subprocess.DEVNULL, capture_output=True, timeout=100)
            kept = re.search("^# kept: (.*)", run.stdout, re.M)
            if not kept:
                break
            path = os.path.join(kept[1], "img1", "image")
            if os.path.exists(path) and os.path.getsize(path) < 60000:
                yield kept[1], load(path)
            else:
                shutil.rmtree(kept[1], ignore_errors=True)


def spread(folder, header, records):
    """The same with its pages, of a chunk at most, in a file and nothing but zeroes in three more. None if there are more."""
    last, path = fields_of(records[-1]), folder + "/pages"
    sums = fields_of(dict(last)[BODY])
    if header[8] != 1 or dict(sums)[SIZE] > MIB or PARENT in dict(sums):
        return None
    crcs = [crc32c(0, open(path, "rb").read().ljust(MIB, b"\0"))] + [ZEROES] * 3 + [crc32c(0, bytes(4096))]
    sums = [f for f in sums if f[0] not in (SIZE, CRCS)]
    sums += [[SIZE, 4 * MIB + 4096], [CRCS, struct.pack("<5I", *crcs)], [NEXT, b"".join(put_varint(n * MIB) for n in (1, 2, 4))]]
    for name, size in ("", MIB), ("-2", MIB), ("-3", 2 * MIB), ("-4", 4096):
        with open(path + name, "ab") as f:
            f.truncate(size)
    header = header[:8] + struct.pack("<I", 3)
    last = message_of([[tag, message_of(sums) if tag == BODY else value] for tag, value in last])
    return header + struct.pack("<I", crc32c(0, header)), records[:-1] + [last]


def spoil_files(rnd, folder):
    """What is done to a file of pages cannot go unnoticed."""
    a, b = ["%s/pages%s" % (folder, n) for n in rnd.sample(["", "-2", "-3", "-4"], 2)]
    way = rnd.randrange(4)
    if way == 0:
        os.unlink(a)
    elif way == 1:
        os.rename(a, folder + "/aside"), os.rename(b, a), os.rename(folder + "/aside", b)
    elif way == 2:
        os.truncate(a, rnd.choice([os.path.getsize(a) + rnd.choice([-4096, -1, 1, 4096]), 0, 5 * MIB]))
    else:
        at = rnd.choice([rnd.randrange(os.path.getsize(a)), 0, os.path.getsize(a) - 1])
        with open(a, "r+b") as f:
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes([byte ^ 1 << rnd.randrange(8)]))


def spoil(rnd, records):
    records = list(records)
    for _ in range(rnd.choice([1, 1, 1, 2, 3])):
        i, way = rnd.randrange(len(records)), rnd.random()
        if way < .04 and len(records) > 1:
            del records[i]
        elif way < .08:
            records.insert(rnd.randrange(len(records) + 1), records[i])
        else:
            records[i] = changed(rnd, records[i], True)
    return records


def run(ckpt, work, command, has_to_fail):
    """What is wrong with how it ended, and what it said."""
    alone = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "unshare", "-U", "--map-current-user", "-pimnf",
             "--mount-proc", "timeout", "-s", "KILL", "20"]
    env = dict(os.environ, ASAN_OPTIONS="detect_leaks=0:verify_asan_link_order=0")
    done = subprocess.run(alone + [ckpt, command[0], "-D", work + "/img"] + command[1:], cwd=work, env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = done.stdout.decode("latin1")
    if done.returncode not in (0, 1, 3):
        return "exit status %d" % done.returncode, said
    if "AddressSanitizer" in said or "runtime error" in said:
        return "a sanitizer", said
    if has_to_fail and not done.returncode:
        return "not noticed", said
    return "nothing said" if done.returncode and "ckpt: " not in said else None, said


def main():
    seconds, seed = [int(a) for a in (sys.argv[1:] + ["60", "1"][len(sys.argv) - 1:])[:2]]
    rnd, found, n = random.Random(seed), 0, 0
    corpus = [(kept, "img1") + image for kept, image in images()]
    for kept, name, header, records in corpus[::8]:
        shutil.copytree(kept + "/img1", kept + "/spread")
        image = spread(kept + "/spread", header, records)
        corpus += [(kept, "spread") + image] if image else []
    work = tempfile.mkdtemp(prefix="ckpt-fuzz.", dir="/tmp")
    shutil.copy(os.environ.get("CKPT", "ckpt"), work + "/ckpt")
    end = time.time() + seconds
    while time.time() < end and found < 20:
        kept, name, header, records = rnd.choice(corpus)
        shutil.rmtree(work + "/img", ignore_errors=True)
        shutil.copytree(kept + "/" + name, work + "/img")
        in_files = name == "spread" and rnd.random() < .5
        save(work + "/img/image", header, records if in_files else spoil(rnd, records))
        if in_files:
            spoil_files(rnd, work + "/img")
        for root, _, files in os.walk(work):
            for name in [root] + [os.path.join(root, f) for f in files]:
                os.chown(name, 65534, 65534)
        for command in COMMANDS:
            wrong, said = run(work + "/ckpt", work, command, in_files and command[0] in ("verify", "restore"))
            n += 1
            if wrong:
                found += 1
                where = "fuzz-build/hostile-%d-%d" % (seed, n)
                shutil.copytree(work + "/img", where)
                print("not ok - %s: %s: %s\n%s" % (" ".join(command), wrong, where, said[-2000:]), flush=True)
        for left in glob.glob(work + "/core*") + [work + "/flat"]:
            shutil.rmtree(left) if os.path.isdir(left) else os.path.exists(left) and os.unlink(left)
    for kept, *_ in corpus:
        shutil.rmtree(kept, ignore_errors=True)
    shutil.rmtree(work)
    print("# %d commands on %d images, %d findings, seed %d" % (n, len(corpus), found, seed))
    return 1 if found else 0


sys.exit(main())
