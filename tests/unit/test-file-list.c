/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes, owners of files, and lists of files that come from elsewhere. */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>
#include "engine/plan/file-list.h"
#include "engine/plan/owner.h"
#include "tests/lib/tap.h"

static struct ckpt_arena *arena;

static int text_fd(const char *text)
{
	int fd = memfd_create("list", MFD_CLOEXEC);

	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		exit(1);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static struct ckpt_file_list *read_list(const char *text, struct ckpt_err *err)
{
	struct ckpt_file_list *list = NULL;
	int fd = text_fd(text);

	*err = (struct ckpt_err)CKPT_ERR_INIT;
	ckpt_file_list_read(&list, arena, fd, "list", err);
	close(fd);
	return list;
}

static void test_hash(void)
{
	static const char want[] =
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
	struct ckpt_err err = CKPT_ERR_INIT;
	uint8_t hash[CKPT_SHA256];
	char hex[2 * CKPT_BUILD_ID_MAX + 1];
	int fd = text_fd("abc");

	is(ckpt_sha256(fd, 3, hash, &err), 0, "SHA-256");
	is_text(ckpt_hex(hex, hash, sizeof(hash)), want, "of abc");
	is(ckpt_sha256(fd, 4, hash, &err), -EIO, "a file that is too short");
	close(fd);
	is_text(ckpt_hex(hex, hash, 0), "none", "no bytes");
}

static const char *const bad[] = {
	"100644\t1\t1.0\t-\t-\n",
	"100644\t1\t1.0\t-\t-\trelative\n",
	"100648\t1\t1.0\t-\t-\t/not-octal\n",
	"100644\t-1\t1.0\t-\t-\t/x\n",
	"100644\t1\t1\t-\t-\t/no-nanoseconds\n",
	"100644\t1\t1.9999999999\t-\t-\t/x\n",
	"100644\t1\t1.0\tabc\t-\t/half-a-byte\n",
	"100644\t1\t1.0\t-\tabcd\t/short-hash\n",
	"100644\t99999999999999999999\t1.0\t-\t-\t/x\n",
	"100644\t1\t1.0\t-\t-\t/no-escape\\9\n",
	"\x01\x02\xff",
};

static void test_list(void)
{
	static const char good[] = "# comment\n"
				   "#package\tb 1.0-2\n"
				   "100644\t12\t-5.000000007\tabcd\t-\t/b\\012c\n\n"
				   "0\t0\t0.0\t-\t-\t/a\n";
	struct ckpt_err err;
	struct ckpt_file_list *list = read_list(good, &err);
	const struct ckpt_file_entry *e = list ? ckpt_file_list_find(list, "/b\nc") : NULL;

	ok(e && e->st.st_size == 12 && e->st.st_mtim.tv_sec == -5 && e->build_id_len == 2,
	   "a list");
	ok(e && e->package && !strcmp(e->package, "b 1.0-2"), "a package");
	e = list ? ckpt_file_list_find(list, "/a") : NULL;
	ok(e && !e->package, "of that file alone");
	ok(list && ckpt_file_list_find(list, "/a") && !ckpt_file_list_find(list, "/b"),
	   "what it does not say");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		read_list(bad[i], &err);
		is(err.number, CKPT_E_CONFIG, "a bad line");
	}
	list = read_list("", &err);
	ok(list && !ckpt_file_list_find(list, "/a"), "an empty list");
	read_list(ckpt_file_list_line(arena, "/bin/sh", true), &err);
	is(err.code, 0, "what is written can be read");
}

int main(void)
{
	struct ckpt_err err = CKPT_ERR_INIT;
	char owner[CKPT_OWNER_MAX];

	if (ckpt_arena_open(&arena, 1ul << 30, &err) < 0)
		return 1;
	test_hash();
	test_list();
	is_text(ckpt_owner_of("/nowhere/at/all", owner), "", "nobody's file");
	if (access("/var/lib/dpkg/info/libc6:amd64.list", F_OK) == 0)
		ok(!strncmp(ckpt_owner_of("/usr/lib/x86_64-linux-gnu/libc.so.6", owner),
			    "libc6:amd64 2.", 14),
		   "a package's, and its version");
	ok(!ckpt_owner_sane("") && !ckpt_owner_sane("a\033b") && ckpt_owner_sane("a 1"),
	   "what may be the name of one");
	return tap_end();
}
