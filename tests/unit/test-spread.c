/* SPDX-License-Identifier: Apache-2.0 */
/* Pages in several files: how many there are, what is made up of them, and what becomes of them
 * when a commit fails or descriptors are short. */
#include <errno.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "engine/base/processors.h"
#include "engine/store/image.h"
#include "engine/store/pages-files.h"
#include "engine/store/record.h"
#include "engine/store/temp.h"
#include "tests/lib/proc.h"
#include "tests/lib/sample.h"
#include "tests/lib/tap.h"

#define CHUNKS 40
#define SIZE ((CHUNKS - 1) * (uint64_t)CKPT_CHUNK + CKPT_PAGE)
#define MIB (1ull << 20)

static struct ckpt_arena *arena;
static struct ckpt_err err;
static uint32_t crc[CHUNKS];

static int n_fds(void)
{
	return test_n_files("/proc/self/fd");
}

static bool here(int dirfd, const char *name)
{
	return faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void make(int dirfd, const char *name, uint64_t size)
{
	int fd = openat(dirfd, name, O_CREAT | O_WRONLY, 0600);

	must(ftruncate(fd, size) == 0, "%s", name);
	close(fd);
}

static void sum_zeroes(void)
{
	unsigned char *zeroes = calloc(1, CKPT_CHUNK);

	for (size_t i = 0; i < CHUNKS; i++)
		crc[i] = ckpt_crc32c(0, zeroes, i < CHUNKS - 1 ? CKPT_CHUNK : SIZE % CKPT_CHUNK);
	free(zeroes);
}

/* All of it, with their checksums. */
static int read_back(int dirfd)
{
	struct ckpt_snapshot *snap;
	struct ckpt_image *img = NULL;
	int r = ckpt_image_open(&img, arena, dirfd, "dir", &err);

	if (r >= 0)
		r = ckpt_image_load(img, &snap, &err);
	if (r >= 0)
		r = ckpt_image_verify_pages(img, 2, &err);
	ckpt_image_close(img);
	return r;
}

/* SIZE bytes, all zero. *NP: files. */
static int write_one(int dirfd, size_t *np)
{
	struct ckpt_image_writer *w;
	uint64_t bytes;
	int r;

	err = (struct ckpt_err)CKPT_ERR_INIT;
	r = ckpt_image_create(&w, arena, dirfd, "dir", &err);
	if (r < 0)
		return r;
	ckpt_image_spread(w, SIZE);
	*np = ckpt_image_writer_files(w)->n;
	ckpt_image_set_checksums(w, SIZE, crc, CHUNKS);
	r = ckpt_image_commit(w, sample_small(arena), &bytes, &err);
	ckpt_image_writer_close(w);
	return r;
}

/* ---- how many ---- */

static size_t said(uint64_t first, uint64_t then)
{
	struct ckpt_image_writer *w;
	char name[32];
	int dirfd = sample_folder(name);
	size_t n;

	must(ckpt_image_create(&w, arena, dirfd, name, &err) == 0, "a writer");
	ckpt_image_spread(w, first);
	ckpt_image_spread(w, then);
	n = ckpt_image_writer_files(w)->n;
	for (size_t i = 1; i < n; i++)
		ok(ckpt_image_writer_files(w)->part[i].base >= i * 16 * MIB, "a place for file %zu",
		   i);
	ckpt_image_writer_close(w);
	is(test_n_files(name), 0, "nothing is left");
	sample_folder_remove(dirfd, name);
	return n;
}

static void how_many(void)
{
	size_t most = ckpt_processors() < 4 ? ckpt_processors() : 4;

	is(said(0, 0), 1, "for nothing there is one");
	is(said(31 * MIB, 0), 1, "for little, too");
	is(said(1ull << 40, 0), most, "for much there are as many as are useful");
	is(said(0, 64 * MIB), most, "also if there was nothing at first");
	is(said(16 * MIB - 1, 64 * MIB), most, "or little");
	is(said(20 * MIB, 64 * MIB), 1, "not if some may be in the place of the second");
}

/* ---- descriptors are short ---- */

static void few_descriptors(void)
{
	struct rlimit was, few;
	size_t made = 0;

	getrlimit(RLIMIT_NOFILE, &was);
	few = was;
	for (int more = 0; more < 12; more++) {
		char name[32];
		int dirfd = sample_folder(name), before = n_fds(), r;
		size_t n = 0;

		few.rlim_cur = dirfd + 1 + more;
		setrlimit(RLIMIT_NOFILE, &few);
		r = write_one(dirfd, &n);
		setrlimit(RLIMIT_NOFILE, &was);
		is(n_fds(), before, "with a few descriptors: all of them are closed");
		if (r < 0)
			is(test_n_files(name), 0, "and nothing is left");
		else if (ok(read_back(dirfd) == 0 && test_n_files(name) == 1 + (int)n,
			    "or there is an image"))
			made = made > n ? made : n;
		sample_folder_remove(dirfd, name);
	}
	is(made, ckpt_processors() < 2 ? 1 : 2, "in the end there are as many files as ever");
}

/* ---- commits that fail ---- */

/* The names that disappear from a folder, in this order. */
static void gone(int watch, char *text, size_t size)
{
	char buf[4096] __attribute__((aligned(8)));
	ssize_t n = read(watch, buf, sizeof(buf));
	size_t len = 0;

	*text = 0;
	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *e = (const void *)(buf + at);

		len += snprintf(text + len, size - len, "%s ", e->name);
		at += sizeof(*e) + e->len;
	}
}

static void removals(void)
{
	static const char *const name[] = { "pages", "pages-2", "pages-3", "pages-4" };
	char folder[32], text[200];
	int dirfd = sample_folder(folder), watch = inotify_init1(IN_NONBLOCK);

	inotify_add_watch(watch, folder, IN_DELETE);
	for (int i = 0; i < 4; i++)
		make(dirfd, name[i], 0);
	make(dirfd, ".image.99999999.0.tmp", 0);
	ckpt_temp_sweep(dirfd);
	gone(watch, text, sizeof(text));
	is_text(text, "pages-4 pages-3 pages-2 pages .image.99999999.0.tmp ",
		"half of a commit: the first one goes last");
	for (int i = 0; i < 4; i++)
		make(dirfd, name[i], 0);
	make(dirfd, "image", 0);
	ckpt_image_remove(dirfd, true);
	gone(watch, text, sizeof(text));
	is_text(text, "image pages-4 pages-3 pages-2 pages ", "an image: likewise");
	make(dirfd, "pages", 0);
	make(dirfd, "image", 0);
	ckpt_image_remove(dirfd, false);
	ok(here(dirfd, "pages") && !here(dirfd, "image"), "pages that are not its own stay");
	close(watch);
	sample_folder_remove(dirfd, folder);
}

/* Another dump into the same folder, or anybody, has made WHAT since this one began. */
static void somebody_else(const char *what, bool pages)
{
	struct ckpt_temp temp;
	char name[32];
	int dirfd = sample_folder(name);
	size_t n = 1;

	ckpt_temp_init(&temp);
	must(ckpt_temp_begin(&temp, dirfd, name, &err) == 0, "temporary files");
	while (pages && n < CKPT_PAGES_FILES)
		must(ckpt_temp_add(&temp, n++) >= 0, "one more");
	make(dirfd, what, 0);
	ok(ckpt_temp_publish(&temp, pages ? n : 0, &err) < 0 && err.number == CKPT_E_IMAGE_EXISTS,
	   "%s is there: %s", what, err.text);
	/* An image without its first file would be half of a commit, see temp.c. */
	ok(pages || here(dirfd, temp.pages[0].name), "its own are there up to the last moment");
	ckpt_temp_end(&temp);
	ok(here(dirfd, what) && test_n_files(name) == 1, "it stays, and nothing else does");
	sample_folder_remove(dirfd, name);
}

/* ---- made up ---- */

static int hand(uint32_t format, uint64_t size, const uint64_t *next, size_t n, uint64_t begins)
{
	Ckpt__Checksums sums = CKPT__CHECKSUMS__INIT;
	Ckpt__Record rec = CKPT__RECORD__INIT;
	struct ckpt_record_out out;
	char name[32];
	int dirfd = sample_folder(name), fd = openat(dirfd, "image", O_CREAT | O_RDWR, 0600), r,
	    before;

	must(ckpt_record_out_open(&out, fd, "dir", &err) == 0, "an image by hand");
	ckpt_record_out_format(&out, format);
	ckpt_snapshot_write(&out, sample_small(arena), arena, &err);
	sums.size = size;
	sums.chunk = CKPT_CHUNK;
	sums.n_crc = (size + CKPT_CHUNK - 1) / CKPT_CHUNK;
	sums.crc = crc;
	sums.next = (uint64_t *)next;
	sums.n_next = n;
	if (begins) {
		sums.has_parent_id = sums.has_begins = 1;
		sums.begins = begins;
		sums.parent_dir = (char *)"nowhere";
	}
	rec.kind = (char *)"checksums";
	ckpt_record_write(&out, &rec, &sums.base, &err);
	ckpt_record_write_trailer(&out, &err);
	ckpt_record_out_close(&out);
	close(fd);
	for (size_t i = 0; i <= n && i < 4; i++) {
		uint64_t from = i ? next[i - 1] : 0, to = i < n ? next[i] : size;

		make(dirfd, ckpt_pages_name(i), to - from < size ? to - from : 0);
	}
	err = (struct ckpt_err)CKPT_ERR_INIT;
	before = n_fds();
	r = read_back(dirfd);
	ok(n_fds() == before && fcntl(0, F_GETFD) >= 0, "no descriptor is lost");
	sample_folder_remove(dirfd, name);
	return r;
}

static void made_up(void)
{
	static const struct {
		const char *what;
		uint32_t format;
		size_t n;
		uint64_t next[5];
	} bad[] = {
		{ "in the plain format", 1, 1, { 3 * MIB } },
		{ "in the packed format", 2, 1, { 3 * MIB } },
		{ "none", 3, 0, { 0 } },
		{ "five files", 3, 4, { 1 * MIB, 2 * MIB, 3 * MIB, 4 * MIB } },
		{ "an empty first one", 3, 1, { 0 } },
		{ "an empty one in between", 3, 2, { 2 * MIB, 2 * MIB } },
		{ "an empty last one", 3, 1, { SIZE } },
		{ "one behind the end", 3, 1, { 40 * MIB } },
		{ "far behind it", 3, 1, { UINT64_MAX - MIB + 1 } },
		{ "one that goes back", 3, 2, { 3 * MIB, 2 * MIB } },
		{ "a part of a chunk", 3, 1, { 3 * MIB + CKPT_PAGE } },
		{ "all that there is", 3, 1, { UINT64_MAX } },
	};

	is(hand(3, SIZE, (uint64_t[]){ 1 * MIB, 2 * MIB, 39 * MIB }, 3, 0), 0,
	   "four files, made by hand");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ok(hand(bad[i].format, SIZE, bad[i].next, bad[i].n, 0) < 0 &&
			   err.number == CKPT_E_IMAGE_DAMAGED && strstr(err.text, "dir/image"),
		   "%s: %s", bad[i].what, err.text);
	ok(hand(3, 0, (uint64_t[]){ 0 }, 1, 0) < 0, "no pages at all: %s", err.text);
	ok(hand(3, SIZE, (uint64_t[]){ 3 * MIB }, 1, 50 * MIB) < 0 &&
		   err.number == CKPT_E_PARENT_MISSING,
	   "where it goes on from is looked for: %s", err.text);
}

/* What is missing, of another size, or changed, is named: file and bytes in it. */
static void named(void)
{
	char name[32];
	int dirfd = sample_folder(name), fd, before;
	size_t n;

	must(write_one(dirfd, &n) == 0, "an image: %s", err.text);
	if (n < 2) {
		sample_folder_remove(dirfd, name);
		return;
	}
	before = n_fds();
	is(read_back(dirfd), 0, "it is whole");
	fd = openat(dirfd, "pages-2", O_RDWR);
	ok(pwrite(fd, "x", 1, 2 * MIB + 5) == 1 && read_back(dirfd) < 0 &&
		   strstr(err.text, "dir/pages-2: chunk ") &&
		   strstr(err.text, "(bytes 2097152 to 3145727)"),
	   "a byte: %s", err.text);
	ok(pwrite(fd, "", 1, 2 * MIB + 5) == 1 && ftruncate(fd, 3 * MIB) == 0 &&
		   read_back(dirfd) < 0 && strstr(err.text, "dir/pages-2: has 3145728 bytes"),
	   "cut: %s", err.text);
	unlinkat(dirfd, "pages-2", 0);
	ok(read_back(dirfd) < 0 && strstr(err.text, "dir/pages-2: the file is missing"),
	   "missing: %s", err.text);
	close(fd);
	is(n_fds(), before, "no descriptor is lost");
	sample_folder_remove(dirfd, name);
}

int main(void)
{
	must(ckpt_arena_open(&arena, 1 << 28, &err) == 0, "an arena");
	sum_zeroes();
	how_many();
	few_descriptors();
	removals();
	somebody_else("pages", true);
	somebody_else("pages-2", true);
	somebody_else("pages-4", true);
	somebody_else("image", true);
	somebody_else("image", false);
	made_up();
	named();
	ckpt_arena_close(arena);
	return tap_end();
}
