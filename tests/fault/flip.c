/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flips bytes of an image, cuts it and adds to it: `ckpt verify` has to refuse each, naming the
 * file, and so has `ckpt restore`, leaving nothing. $FLIP_ROUNDS: of each; 0: every byte and every
 * length.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/fault.h"

static unsigned long n_changes, n_restores;

static void look(struct fault *f, const char *name, const char *what, bool restore)
{
	int status = fault_ckpt(f, restore ? "restore" : "verify", restore ? "-d" : NULL, NULL);
	char *said = test_read(f->out, NULL);
	pid_t v[16];

	n_changes++;
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

static void flip(struct fault *f, const char *name, long size, long step)
{
	char *path = test_text("%s/%s", f->img, name), what[100];
	int fd = open(path, O_RDWR);

	for (long at = 0; at < size && f->n_failed < 10; at += step) {
		unsigned char was, is;

		if (pread(fd, &was, 1, at) != 1)
			break;
		is = was ^ 1 << at / step % 8;
		if (pwrite(fd, &is, 1, at) != 1)
			break;
		snprintf(what, sizeof(what), "bit %ld of byte %ld flipped", at / step % 8, at);
		look(f, name, what, at / step % 16 == 15);
		if (pwrite(fd, &was, 1, at) != 1)
			break;
	}
	close(fd);
	free(path);
}

static void cut(struct fault *f, const char *name, long size, long step)
{
	char *path = test_text("%s/%s", f->img, name), *copy = test_text("%s/copy", f->dir),
	     what[100];

	for (long len = 0; len < size && f->n_failed < 10; len += step) {
		if (!test_copy(path, copy, 0600) || truncate(path, len) < 0)
			break;
		snprintf(what, sizeof(what), "cut to %ld of %ld bytes", len, size);
		look(f, name, what, len / step % 16 == 15);
		if (!test_copy(copy, path, 0600))
			break;
	}
	if (truncate(path, size + 1) == 0)
		look(f, name, "a byte more", false);
	if (truncate(path, size) < 0)
		perror(path);
	free(path);
	free(copy);
}

static void torment(struct fault *f, const char *name, long rounds)
{
	char *path = test_text("%s/%s", f->img, name);
	struct stat st;
	long step;

	if (stat(path, &st) < 0) {
		fault_failed(f, "there is no file %s", name);
		return;
	}
	step = rounds > 0 && st.st_size > rounds ? st.st_size / rounds | 1 : 1;
	flip(f, name, st.st_size, step);
	cut(f, name, st.st_size, step * 3);
	printf("# %s: %lld bytes\n", name, (long long)st.st_size);
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
	snprintf(summary, sizeof(summary), "%lu damaged images refused, %lu of them by restore",
		 n_changes, n_restores);
	return fault_end(&f, summary);
}
