/* SPDX-License-Identifier: Apache-2.0 */
/* The scanners of /proc: smaps, stat, fdinfo; whole, cut at any byte, and nonsense. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "engine/capture/state.h"
#include "tests/lib/tap.h"

#define REST "Size:                  4 kB\nRss:                   0 kB\nVmPin:   0 kB\n"

static struct ckpt_arena *arena;

static int read_text(const char *text, size_t len, struct ckpt_map **mapp, size_t *np,
		     struct ckpt_err *err)
{
	int fd = memfd_create("smaps", 0), r;

	if (write(fd, text, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET))
		exit(1);
	r = ckpt_maps_read(arena, fd, mapp, np, err);
	close(fd);
	return r;
}

static void test_fields(void)
{
	static const char text[] =
		"00400000-00452000 r-xp 00001000 08:02 173521                             /usr/bin/a b\\012c\n" REST
		"VmFlags: rd ex mr mw me dw \n"
		"7ffff7ff9000-7ffff7ffd000 ---s 00000000 00:01 4026531840                 /dev/zero (deleted)\n" REST
		"VmFlags: sh mr mw me ms lo lf dc dd nr \n"
		"7ffff7ffd000-7ffff7ffe000 rw-p 00000000 00:00 0 \n" REST
		"ProtectionKey:         3\n"
		"KernelPageSize:     2048 kB\n"
		"VmFlags: rd wr mr mw me ac qq \n"
		"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n" REST
		"VmFlags: ex \n";
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_map *m;
	size_t n = 0;

	must(read_text(text, strlen(text), &m, &n, &err) == 0, "smaps is understood");
	is(n, 4, "every area is found");
	is(m[0].start, 0x400000, "start");
	is(m[0].end, 0x452000, "end");
	is(m[0].prot, PROT_READ | PROT_EXEC, "protection");
	ok(!m[0].shared && m[1].shared, "private and shared");
	is(m[0].offset, 0x1000, "offset");
	is(m[0].major << 8 | m[0].minor, 0x802, "device");
	is(m[0].ino, 173521, "inode");
	is_text(m[0].name, "/usr/bin/a b\\012c", "a name with blanks");
	is(m[0].flags,
	   CKPT_MAP(RD) | CKPT_MAP(EX) | CKPT_MAP(MR) | CKPT_MAP(MW) | CKPT_MAP(ME) | CKPT_MAP(DW),
	   "flags");
	is(m[1].ino, 4026531840ll, "a large inode");
	ok(m[1].flags & CKPT_MAP(LF) && m[1].flags & CKPT_MAP(DD) && !(m[1].flags & CKPT_MAP(GD)),
	   "flags of another one");
	is_text(m[2].name, "", "no name");
	is_text(m[2].unknown, "qq", "an unknown flag is not lost");
	ok(m[2].pkey == 3 && !m[1].pkey, "protection keys");
	is(m[2].page_kb, 2048, "the size of pages");
	is_text(m[0].unknown, "", "known ones are not unknown");
	is_text(m[3].name, "[vsyscall]", "the last one");
}

/* Every cut is either an error or the areas whose lines are whole. */
static void test_cuts(void)
{
	static const char text[] =
		"00400000-00452000 r-xp 00001000 08:02 173521                             /usr/bin/x\n" REST
		"VmFlags: rd ex \n"
		"7ffff7ffd000-7ffff7ffe000 rw-p 00000000 00:00 0 \n" REST "VmFlags: rd wr \n";
	unsigned int wrong = 0;

	for (size_t len = 0; len <= strlen(text); len++) {
		struct ckpt_err err = CKPT_ERR_INIT;
		struct ckpt_map *m;
		size_t n = 0;
		int r = read_text(text, len, &m, &n, &err);
		bool whole = !len || text[len - 1] == '\n';

		wrong += (r == 0) != whole || (r < 0 && err.code != r);
	}
	is(wrong, 0, "cut at any byte it is refused, or whole lines are taken");
}

static void test_nonsense(void)
{
	static const char *const text[] = {
		"hello\n",
		"VmFlags: rd\n",
		"00400000 r-xp 0 0:0 0\n",
		"00400000-00401000 r-x\n",
		"\n",
		"00400000-00401000 r-xp 00000000 08:02 x\n",
		"zz-00401000 r-xp 00000000 08:02 1\n",
	};

	for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
		struct ckpt_err err = CKPT_ERR_INIT;
		struct ckpt_map *m;
		size_t n = 0;

		ok(read_text(text[i], strlen(text[i]), &m, &n, &err) == -EBADMSG,
		   "nonsense %zu is refused", i);
	}
}

/* Reads return what they like: lines are cut anywhere. */
static void test_own(void)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_map *m;
	size_t n = 0, stack = 0, text = 0, i;
	int fd = open("/proc/self/smaps", O_RDONLY);
	char *file = NULL;

	must(ckpt_maps_read(arena, fd, &m, &n, &err) == 0, "our own smaps is understood");
	for (i = 0; i < n; i++) {
		stack += !strcmp(m[i].name, "[stack]") && m[i].flags & CKPT_MAP(GD);
		text += m[i].start <= (uintptr_t)test_own && (uintptr_t)test_own < m[i].end &&
			m[i].flags & CKPT_MAP(EX);
		if (m[i].unknown[0])
			diag("flag %s", m[i].unknown);
		file = m[i].ino && !file ? (char *)m[i].name : file;
	}
	is(stack, 1, "it has one stack, that grows down");
	is(text, 1, "and this function is in one area");
	ok(file && file[0] == '/', "files have paths");
	close(fd);
}

static void test_stat(void)
{
	static const char text[] =
		"4711 (a) S (\\\\b\\n) Z 1 4712 4713 34816 -1 4194560 1 2 3 4 5 6 7 8 20 0 9 0 1234 5678 90 18446744073709551615 "
		"94000000000000 94000000100000 140720000000000 0 0 0 0 4096 2 0 0 0 17 1 0 0 0 0 0 94000000200000 94000000300000 "
		"94000000400000 140720000000001 140720000000002 140720000000003 140720000000004 768\n";
	struct ckpt_stat st;
	struct ckpt_err err = CKPT_ERR_INIT;
	char cut[sizeof(text)];
	unsigned int accepted = 0;

	must(ckpt_stat_parse(text, &st, &err) == 0, "stat is understood");
	is_text(st.comm, "a) S (\\b\n", "a name with parentheses and escapes");
	is(st.pgrp, 4712, "group");
	is(st.session, 4713, "session");
	is(st.n_threads, 9, "threads");
	is(st.start_code, 94000000000000ll, "start of code");
	is(st.start_stack, 140720000000000ll, "start of the stack");
	is(st.start_brk, 94000000400000ll, "start of the heap");
	is(st.env_end, 140720000000004ll, "end of the environment");
	is(st.exit_code, 768, "exit status");
	for (size_t len = 0; len < strlen(text) - 5; len++) {
		memcpy(cut, text, len);
		cut[len] = '\0';
		accepted += ckpt_stat_parse(cut, &st, &err) == 0;
	}
	is(accepted, 0, "a cut one is refused");
}

static void test_fdinfo(void)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_fdinfo info;

	is(ckpt_fdinfo_parse("pos:\t77\nflags:\t02104002\nmnt_id:\t5\nino:\t9\n", &info, &err), 0,
	   "fdinfo is understood");
	is(info.pos, 77, "position");
	is(info.flags, 02104002, "flags");
	is_text(info.lock, "", "no lock");
	is(ckpt_fdinfo_parse(
		   "pos:\t-4096\nflags:\t02\nlock:\t1: FLOCK  ADVISORY  WRITE 12 08:02:9 0 EOF\n",
		   &info, &err),
	   0, "a lock is no error");
	is_text(info.lock, "FLOCK", "the lock is seen");
	is((int64_t)info.pos, -4096, "a position of a memory file");
	is(ckpt_fdinfo_parse("pos:\t0\nflags:\t02\neventfd-count: 0\neventfd-id: 31\n", &info,
			     &err),
	   0, "an eventfd");
	is(info.id, 31, "has an id");
	is(ckpt_fdinfo_parse("pos:\t0\n", &info, &err), -EBADMSG, "without flags it is refused");
	is(ckpt_fdinfo_parse("flags:\t02\n", &info, &err), -EBADMSG, "and without a position");
}

int main(void)
{
	struct ckpt_err err;

	if (ckpt_arena_open(&arena, 256 << 20, &err) < 0)
		return 1;
	test_fields();
	test_cuts();
	test_nonsense();
	test_own();
	test_stat();
	test_fdinfo();
	ckpt_arena_close(arena);
	return tap_end();
}
