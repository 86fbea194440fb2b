/* SPDX-License-Identifier: Apache-2.0 */
/* Images: what is written is read back, and a folder holds one or none, whatever happens to the
 * writer. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine/store/image.h"
#include "engine/store/record.h"
#include "tests/lib/sample.h"
#include "tests/lib/tap.h"

static struct ckpt_arena *arena;
static struct ckpt_err err;

static bool here(int dirfd, const char *name)
{
	return faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int n_files(const char *dir)
{
	char cmd[96];
	int n = -1;
	FILE *f;

	snprintf(cmd, sizeof(cmd), "ls -A %s | wc -l", dir);
	f = popen(cmd, "r");
	if (!f || fscanf(f, "%d", &n) != 1)
		n = -1;
	if (f)
		pclose(f);
	return n;
}

static struct ckpt_snapshot *load(int dirfd, struct ckpt_image **imgp)
{
	struct ckpt_snapshot *snap = NULL;

	*imgp = NULL;
	if (ckpt_image_open(imgp, arena, dirfd, "dir", &err) < 0 ||
	    ckpt_image_load(*imgp, &snap, &err) < 0)
		diag("%s", err.text);
	return snap;
}

static bool same_message(const ProtobufCMessage *a, const ProtobufCMessage *b)
{
	size_t n = protobuf_c_message_get_packed_size(a), m = protobuf_c_message_get_packed_size(b);
	unsigned char *x = malloc(n + 1), *y = malloc(m + 1);
	bool same = n == m;

	protobuf_c_message_pack(a, x);
	protobuf_c_message_pack(b, y);
	same = same && !memcmp(x, y, n);
	free(x);
	free(y);
	return same;
}

static bool same_object(const struct ckpt_object *a, const struct ckpt_object *b)
{
	return a->id == b->id && a->kind == b->kind && a->task == b->task && a->tid == b->tid &&
	       !memcmp(&a->file, &b->file, sizeof(a->file)) && a->has_content == b->has_content &&
	       a->content_size == b->content_size && a->content.n == b->content.n &&
	       (!a->content.n ||
		!memcmp(a->content.run, b->content.run, a->content.n * sizeof(*a->content.run))) &&
	       same_message(a->msg, b->msg);
}

static bool same_state(struct ckpt_object *const *a, size_t n, struct ckpt_object *const *b,
		       size_t m)
{
	if (n != m)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (a[i]->id != b[i]->id)
			return false;
	}
	return true;
}

static bool same_thread(const struct ckpt_thread *a, const struct ckpt_thread *b)
{
	return a->tid == b->tid && !memcmp(&a->regs.gp, &b->regs.gp, sizeof(a->regs.gp)) &&
	       a->regs.sigmask == b->regs.sigmask && a->regs.xstate_len == b->regs.xstate_len &&
	       !memcmp(a->regs.xstate, b->regs.xstate, a->regs.xstate_len) &&
	       same_state(a->state, a->n_state, b->state, b->n_state);
}

static bool same_task(const struct ckpt_task *a, const struct ckpt_task *b)
{
	bool same = a->id == b->id && a->parent == b->parent && a->pid == b->pid &&
		    a->pgid == b->pgid && a->sid == b->sid && a->run_state == b->run_state &&
		    a->stop_signal == b->stop_signal && a->exit_status == b->exit_status &&
		    !memcmp(a->comm, b->comm, 16) && a->n_fds == b->n_fds &&
		    a->n_threads == b->n_threads &&
		    same_state(a->state, a->n_state, b->state, b->n_state) && !a->mm == !b->mm &&
		    (!a->mm || same_message(&a->mm->base, &b->mm->base)) &&
		    a->pages.n == b->pages.n &&
		    (!a->pages.n ||
		     !memcmp(a->pages.run, b->pages.run, a->pages.n * sizeof(*a->pages.run)));

	for (size_t i = 0; same && i < a->n_fds; i++)
		same = a->fds[i].number == b->fds[i].number &&
		       a->fds[i].cloexec == b->fds[i].cloexec &&
		       a->fds[i].object == b->fds[i].object;
	for (size_t i = 0; same && i < a->n_threads; i++)
		same = same_thread(&a->threads[i], &b->threads[i]);
	return same;
}

static void round_trip(struct ckpt_snapshot *snap, const char *what)
{
	char name[32];
	int dirfd = sample_folder(name);
	struct ckpt_snapshot *again;
	struct ckpt_image *img;
	size_t same = 0;

	diag("%s", what);
	must(sample_write(arena, snap, dirfd, &err) == 0, "it is written: %s", err.text);
	is(n_files(name), 2, "two files, nothing else");
	again = load(dirfd, &img);
	must(again, "it is read");
	ok(again->n_tasks == snap->n_tasks && again->n_objects == snap->n_objects, "%zu objects",
	   snap->n_objects);
	for (size_t i = 0; i < snap->n_objects; i++)
		same += same_object(snap->objects[i], again->objects[i]);
	is(same, snap->n_objects, "every object is the same");
	for (size_t i = same = 0; i < snap->n_tasks; i++)
		same += same_task(snap->tasks[i], again->tasks[i]);
	is(same, snap->n_tasks, "every task is the same");
	ok(again->n_lost == 2 && !strcmp(again->lost[1], "another"), "what was lost is told");
	is(again->inventory->time_ns, snap->inventory->time_ns, "the inventory is the same");
	ok(ckpt_image_n_records(img) > snap->n_objects + snap->n_tasks, "records are counted");
	is(ckpt_image_pages_size(img), SAMPLE_PAGES, "the pages have their size");
	is(ckpt_image_verify_pages(img, 4, &err), 0, "the pages are sound");
	ckpt_image_close(img);
	sample_folder_remove(dirfd, name);
}

static void content_id(void)
{
	struct ckpt_snapshot *snap = sample_small(arena);
	char name[3][32];
	uint64_t id[3];
	int fd[3];

	for (int i = 0; i < 3; i++) {
		struct ckpt_image *img;

		fd[i] = sample_folder(name[i]);
		if (i == 2)
			snap->inventory->time_ns++;
		must(sample_write(arena, snap, fd[i], &err) == 0 && load(fd[i], &img), "image %d",
		     i);
		id[i] = ckpt_image_content_id(img);
		ckpt_image_close(img);
		sample_folder_remove(fd[i], name[i]);
	}
	ok(id[0] == id[1], "the same content has the same id");
	ok(id[0] != id[2], "other content has another");
}

static void without_pages(void)
{
	struct ckpt_snapshot *snap = sample_small(arena), *again;
	struct ckpt_image_writer *w;
	struct ckpt_image *img;
	uint64_t bytes = 0;
	char name[32];
	int dirfd = sample_folder(name), fd;

	snap->tasks[0]->pages.n = 0;
	snap->objects[0]->content.n = 0;
	must(ckpt_image_create(&w, arena, dirfd, name, &err) == 0, "a writer");
	is(ckpt_image_commit(w, snap, &bytes, &err), 0, "an image without pages");
	ckpt_image_writer_close(w);
	is(n_files(name), 1, "is one file");
	again = load(dirfd, &img);
	must(again, "that can be read");
	is(ckpt_image_files(img)->n, 0, "and has no pages file");
	ok(again->objects[0]->has_content && again->objects[0]->content_size == 4097,
	   "but contents, if of holes");
	is(ckpt_image_bytes(img), bytes, "its size is told the same by writer and reader");
	is(ckpt_image_verify_pages(img, 4, &err), 0, "nothing to verify");
	ckpt_image_close(img);
	fd = openat(dirfd, "pages", O_CREAT | O_WRONLY, 0600);
	ok(write(fd, "x", 1) == 1 && ckpt_image_open(&img, arena, dirfd, name, &err) < 0,
	   "pages that come later are seen");
	close(fd);
	sample_folder_remove(dirfd, name);
}

static void make_runs(struct ckpt_pages *pages, size_t n)
{
	pages->n = n;
	pages->run = ckpt_alloc(arena, n * sizeof(*pages->run));
	for (size_t i = 0; i < n; i++)
		pages->run[i] = (struct ckpt_run){ 2 * i * CKPT_PAGE, 1, (n - 1 - i) * CKPT_PAGE };
}

static void many(void)
{
	struct ckpt_snapshot *snap = sample_small(arena), *again;
	struct ckpt_task *task = snap->tasks[0];
	struct ckpt_thread *threads = ckpt_alloc(arena, 2500 * sizeof(*threads));
	const size_t n = 1234567;
	uint32_t *crc = ckpt_alloc(arena, n / 256 * 4 + 4);
	struct ckpt_image_writer *w;
	struct ckpt_image *img;
	uint64_t bytes;
	char name[32];
	int dirfd = sample_folder(name);

	for (int i = 0; i < 2500; i++) {
		threads[i] = task->threads[0];
		threads[i].tid += i;
	}
	task->threads = threads;
	task->n_threads = 2500;
	task->pages.n = 0;
	snap->objects[0]->content_size = 2 * n * CKPT_PAGE;
	make_runs(&snap->objects[0]->content, n);
	must(ckpt_image_create(&w, arena, dirfd, name, &err) == 0, "a writer");
	ckpt_image_set_checksums(w, n * CKPT_PAGE, crc, n * CKPT_PAGE / CKPT_CHUNK + 1);
	is(ckpt_image_commit(w, snap, &bytes, &err), 0,
	   "2500 threads and 1234567 runs are written");
	ckpt_image_writer_close(w);
	again = load(dirfd, &img);
	must(again, "and read");
	ok(again->tasks[0]->n_threads == 2500 && again->tasks[0]->threads[2499].tid == 3499,
	   "all threads");
	ok(again->objects[0]->content.n == n &&
		   !memcmp(again->objects[0]->content.run, snap->objects[0]->content.run,
			   n * sizeof(struct ckpt_run)),
	   "all runs");
	ok(ckpt_image_bytes(img) - n * CKPT_PAGE < 12 * n, "in few bytes");
	ckpt_image_close(img);
	sample_folder_remove(dirfd, name);
}

/* A writer that is killed after CREATE, in a child. */
static void die_while_writing(int dirfd)
{
	pid_t pid = fork();

	if (!pid) {
		struct ckpt_image_writer *w;

		if (ckpt_image_create(&w, arena, dirfd, "dir", &err) < 0)
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	waitpid(pid, NULL, 0);
}

static void leftovers(void)
{
	struct ckpt_snapshot *snap = sample_small(arena);
	struct ckpt_image_writer *w, *w2;
	char name[32];
	int dirfd = sample_folder(name);

	die_while_writing(dirfd);
	is(n_files(name), 2, "a killed writer leaves two files");
	is(ckpt_image_create(&w, arena, dirfd, name, &err), 0, "the next one starts");
	is(n_files(name), 2, "and has taken them away");
	is(ckpt_image_create(&w2, arena, dirfd, name, &err), 0, "a second one beside it");
	is(n_files(name), 4, "leaves the files of the first alone");
	ckpt_image_writer_close(w2);
	ckpt_image_writer_close(w);
	ckpt_image_writer_close(NULL);
	is(n_files(name), 0, "a writer without a commit leaves nothing");
	close(openat(dirfd, ".image.99.0.tmp", O_CREAT | O_WRONLY, 0600));
	close(openat(dirfd, "pages", O_CREAT | O_WRONLY, 0600));
	close(openat(dirfd, ".image.note", O_CREAT | O_WRONLY, 0600));
	is(sample_write(arena, snap, dirfd, &err), 0, "half of a commit does not stand in the way");
	ok(!here(dirfd, ".image.99.0.tmp") && here(dirfd, ".image.note"),
	   "only temporary files are swept");
	sample_folder_remove(dirfd, name);
}

static void refusals(void)
{
	struct ckpt_snapshot *snap = sample_small(arena);
	struct ckpt_image_writer *w;
	struct ckpt_image *img;
	uint64_t bytes;
	char name[32];
	int dirfd = sample_folder(name);

	ok(ckpt_image_open(&img, arena, dirfd, "dir//", &err) < 0 && err.number == CKPT_E_NO_IMAGE,
	   "no image: %s", err.text);
	is_text(err.text, "dir/image: no such file", "slashes are not doubled");
	must(ckpt_image_create(&w, arena, dirfd, name, &err) == 0, "a writer");
	must(sample_write(arena, snap, dirfd, &err) == 0, "another one, quicker");
	ckpt_image_set_checksums(w, 1 << 20, (uint32_t[]){ 0 }, 1);
	ok(ckpt_image_commit(w, snap, &bytes, &err) < 0 && err.number == CKPT_E_IMAGE_EXISTS,
	   "the slower: %s", err.text);
	ckpt_image_writer_close(w);
	is(n_files(name), 2, "the image of the quicker is there");
	ok(load(dirfd, &img) && !ckpt_image_verify_pages(img, 1, &err), "and whole");
	ckpt_image_close(img);
	ok(ckpt_image_create(&w, arena, dirfd, name, &err) < 0 && err.number == CKPT_E_IMAGE_EXISTS,
	   "a third: %s", err.text);
	ckpt_image_remove(dirfd, true);
	is(n_files(name), 0, "an image can be taken away");
	close(openat(dirfd, "pages", O_CREAT | O_WRONLY, 0600));
	ok(ckpt_image_create(&w, arena, dirfd, name, &err) < 0 && here(dirfd, "pages"),
	   "somebody's pages: %s", err.text);
	unlinkat(dirfd, "pages", 0);
	must(ckpt_image_create(&w, arena, dirfd, name, &err) == 0, "a writer");
	ckpt_image_set_checksums(w, 3 << 20, (uint32_t[]){ 0 }, 1);
	ok(ckpt_image_commit(w, snap, &bytes, &err) < 0, "checksums that do not fit: %s", err.text);
	snap->tasks[0]->pid = 0;
	ok(ckpt_image_commit(w, snap, &bytes, &err) < 0, "a snapshot that is not sound: %s",
	   err.text);
	ckpt_image_writer_close(w);
	is(n_files(name), 0, "nothing is left");
	sample_folder_remove(dirfd, name);
}

/* In a child that may not write more than 16 KiB to a file: as on a full disk. */
static int write_limited(int dirfd)
{
	struct rlimit small = { 16384, 16384 };
	struct ckpt_snapshot *snap = sample_full(arena);
	struct ckpt_image_writer *w;
	uint64_t bytes;
	int r;

	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &small);
	for (size_t i = 0; i < snap->n_tasks; i++)
		snap->tasks[i]->pages.n = 0;
	if (ckpt_image_create(&w, arena, dirfd, "dir", &err) < 0)
		return 1;
	r = ckpt_image_commit(w, snap, &bytes, &err);
	ckpt_image_writer_close(w);
	return !(r < 0 && err.number == CKPT_E_NO_SPACE);
}

static int write_unprivileged(int dirfd)
{
	struct ckpt_image_writer *w;

	if (getuid() == 0 && (setgid(65534) || setuid(65534)))
		return 1;
	return !(ckpt_image_create(&w, arena, dirfd, "dir", &err) < 0 &&
		 err.number == CKPT_E_IMAGE_UNWRITABLE);
}

static bool in_child(int (*what)(int dirfd), int dirfd)
{
	pid_t pid = fork();
	int status = 1;

	if (!pid)
		_exit(what(dirfd));
	waitpid(pid, &status, 0);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void disasters(void)
{
	char name[32];
	int dirfd = sample_folder(name);

	ok(in_child(write_limited, dirfd), "a full disk is named");
	is(n_files(name), 0, "and nothing is left");
	fchmod(dirfd, 0555);
	ok(in_child(write_unprivileged, dirfd), "a folder that may not be written to is named");
	fchmod(dirfd, 0700);
	sample_folder_remove(dirfd, name);
}

int main(void)
{
	must(ckpt_arena_open(&arena, (size_t)4 << 30, &err) == 0, "an arena opens");
	round_trip(sample_small(arena), "a small snapshot");
	round_trip(sample_full(arena), "one of every kind");
	content_id();
	without_pages();
	many();
	leftovers();
	refusals();
	disasters();
	ckpt_arena_close(arena);
	return tap_end();
}
