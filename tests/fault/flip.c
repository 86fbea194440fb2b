/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flips bytes of an image, cuts it and adds to it: `ckpt verify` has to refuse each, naming the
 * file, and so has `ckpt restore`, leaving nothing. $FLIP_ROUNDS: of each; 0: every byte and every
 * length. Of a large one, whose pages are in several files, the heads and tails of each.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine/base/processors.h"
#include "tests/lib/fault.h"

static unsigned long n_changes, n_restores;

static void look(struct fault *f, const char *name, const char *what, bool restore)
{
	int status = fault_ckpt(f, restore ? "restore" : "verify", restore ? "-d" : NULL, NULL);
	char *said = test_read(f->out, NULL);
	pid_t v[16];

	n_changes += !restore;
	n_restores += restore;
	if (status != 1 && status != 3)
		fault_failed(f, "%s: %s: exit status %d", name, what, status);
	else if (!said || !strstr(said, name) || !strstr(said, "CKPT-E03"))
		fault_failed(f, "%s: %s: is not named", name, what);
	/* Those that were killed may still be on their way out. */
	if (restore &&
	    !EVENTUALLY((waitpid(-1, NULL, WNOHANG | __WALL), test_descendants(v, 16) == 0)))
		fault_failed(f, "%s: %s: processes are left", name, what);
	free(said);
	test_end_descendants();
}

/* The N-th change of a kind: who restores is shown ALL of them, or some. */
static void refused(struct fault *f, const char *name, const char *what, long n, bool all)
{
	look(f, name, what, false);
	if (all || n % 16 == 15)
		look(f, name, what, true);
}

static void flip(struct fault *f, const char *name, long from, long to, long step, bool all)
{
	char *path = test_text("%s/%s", f->img, name), what[100];
	int fd = open(path, O_RDWR);

	for (long at = from; at < to && f->n_failed < 10; at += step) {
		long n = (at - from) / step;
		unsigned char was, is;

		if (pread(fd, &was, 1, at) != 1)
			break;
		is = was ^ 1 << n % 8;
		if (pwrite(fd, &is, 1, at) != 1)
			break;
		snprintf(what, sizeof(what), "bit %ld of byte %ld flipped", n % 8, at);
		refused(f, name, what, n, all);
		if (pwrite(fd, &was, 1, at) != 1)
			break;
	}
	close(fd);
	free(path);
}

static void cut(struct fault *f, const char *name, long size, long step, bool all)
{
	char *path = test_text("%s/%s", f->img, name), *copy = test_text("%s/copy", f->dir),
	     what[100];

	for (long len = 0; len < size && f->n_failed < 10; len += step) {
		if (!test_copy(path, copy, 0600) || truncate(path, len) < 0)
			break;
		snprintf(what, sizeof(what), "cut to %ld of %ld bytes", len, size);
		refused(f, name, what, len / step, all);
		if (!test_copy(copy, path, 0600))
			break;
	}
	if (truncate(path, size + 1) == 0)
		refused(f, name, "a byte more", 0, all);
	if (truncate(path, size) < 0)
		perror(path);
	free(path);
	free(copy);
}

static void missing(struct fault *f, const char *name)
{
	char *path = test_text("%s/%s", f->img, name), *aside = test_text("%s/aside", f->dir);

	if (rename(path, aside) < 0)
		fault_failed(f, "%s: cannot be taken away", name);
	refused(f, name, "missing", 0, true);
	if (rename(aside, path) < 0)
		fault_failed(f, "%s: cannot be put back", name);
	free(path);
	free(aside);
}

static void exchanged(struct fault *f, const char *a, const char *b)
{
	char *path = test_text("%s/%s", f->img, a), *other = test_text("%s/%s", f->img, b);

	for (int i = 0; i < 2; i++) {
		if (renameat2(AT_FDCWD, path, AT_FDCWD, other, RENAME_EXCHANGE) < 0)
			fault_failed(f, "%s: cannot be exchanged with %s", a, b);
		else if (i == 0) /* which of the two is seen first is left to threads */
			refused(f, "pages", "exchanged with another", 0, true);
	}
	free(path);
	free(other);
}

static long size_of(struct fault *f, const char *name)
{
	char *path = test_text("%s/%s", f->img, name);
	struct stat st;
	int r = stat(path, &st);

	free(path);
	return r < 0 ? -1 : st.st_size;
}

static void torment(struct fault *f, const char *name, long rounds)
{
	long size = size_of(f, name), step;

	if (size < 0) {
		fault_failed(f, "there is no file %s", name);
		return;
	}
	step = rounds > 0 && size > rounds ? size / rounds | 1 : 1;
	flip(f, name, 0, size, step, false);
	cut(f, name, size, step * 3, false);
	printf("# %s: %ld bytes\n", name, size);
}

/* Dumped with the option HOW, on top of a pre-dump: every file of it. */
static void torment_dump(struct fault *f, char *how, bool chain, long rounds)
{
	static const char *const names[] = { "image", "pages", "../base/image", "../base/pages" };
	char *img = f->img;

	printf("# %s%s\n", how ? how : "plain", chain ? ", on top of another" : "");
	if (fault_start(f, "sleep") && chain) {
		f->img = test_text("%s/base", f->dir);
		if (fault_ckpt(f, "pre-dump", fault_pid(f), NULL))
			fault_failed(f, "a pre-dump fails");
		f->img = img;
		fault_options(f, "prev-images-dir ../base\n");
	}
	if (f->pid && fault_ckpt(f, "dump", fault_pid(f), how))
		fault_failed(f, "a dump fails");
	fault_options(f, NULL);
	test_end_descendants();
	for (int i = 0; i < (chain ? 4 : 2) && !f->n_failed; i++)
		torment(f, names[i], i % 2 ? rounds / 2 : rounds);
	if (!f->n_failed && fault_ckpt(f, "verify", NULL, NULL))
		fault_failed(f, "the image as it was is refused");
	fault_remove_image(f);
}

/* Heads and tails of files of pages, and the end of the image, which says where they begin. */
static void torment_large(struct fault *f)
{
	static const char *const names[] = { "pages", "pages-2", "pages-3", "pages-4" };
	long size;
	size_t n = 0;

	printf("# large\n");
	if (fault_start(f, "large") && fault_ckpt(f, "dump", fault_pid(f), NULL))
		fault_failed(f, "a dump fails");
	test_end_descendants();
	for (; n < ARRAY_SIZE(names) && (size = size_of(f, names[n])) > 0; n++) {
		flip(f, names[n], 0, 4096, 511, true);
		flip(f, names[n], size - 4096, size, 511, true);
		cut(f, names[n], size, size / 2 - 1, true);
		missing(f, names[n]);
		printf("# %s: %ld bytes\n", names[n], size);
	}
	size = size_of(f, "image");
	flip(f, "image", size - 400, size, 3, true);
	for (size_t i = 1; i < n; i++)
		exchanged(f, names[i - 1], names[i]);
	if (!f->n_failed && fault_ckpt(f, "verify", NULL, NULL))
		fault_failed(f, "the image as it was is refused");
	if (n < 2 && ckpt_processors() > 1)
		fault_failed(f, "its pages are in one file");
	fault_remove_image(f);
}

int main(int argc, char **argv)
{
	long rounds = fault_setting("FLIP_ROUNDS", 400);
	struct fault f;
	char summary[200];

	fault_init(&f, argc, argv);
	torment_dump(&f, NULL, false, rounds);
	torment_dump(&f, "--compress", false, rounds / 2);
	if (fault_ckpt(&f, "check", "--feature", "PAGEMAP_SCAN"))
		printf("# skip: this kernel cannot track memory: no chains\n");
	else
		torment_dump(&f, "--compress=zstd", true, rounds / 4);
	torment_large(&f);
	snprintf(summary, sizeof(summary),
		 "%lu damaged images refused, %lu of them by restore, too", n_changes, n_restores);
	return fault_end(&f, summary);
}
