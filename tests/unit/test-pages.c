/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dump side of memory, on children that only wait: which pages are found, which are shared
 * copy-on-write, and whether what is copied is what was there.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "engine/capture/maps.h"
#include "engine/memory/pages.h"
#include "engine/store/image.h"
#include "tests/lib/self-source.h"
#include "tests/lib/pages.h"
#include "tests/lib/tap.h"

#define PAGE 4096ul
#define MIB (1ul << 20)

static struct ckpt_arena *arena;

static int read_mem(struct ckpt_source *src, pid_t pid, const struct iovec *range, size_t n,
		    void *buf, struct ckpt_err *err)
{
	size_t len = 0;

	(void)src;
	for (size_t i = 0; i < n; i++)
		len += range[i].iov_len;
	struct iovec local = { buf, len };
	if (process_vm_readv(pid, &local, 1, range, n, 0) != (ssize_t)len)
		return ckpt_fail(err, -EFAULT, "cannot read memory");
	return 0;
}

static const struct ckpt_source_ops ops = {
	.name = "test",
	.open_proc = self_open_proc,
	.read_mem = read_mem,
	.call = self_call,
};
static struct ckpt_source source = { &ops };

static pid_t waiting_child(void (*prepare)(void *arg), void *arg)
{
	char path[32], call[4] = "";
	pid_t pid = fork();

	if (!pid) {
		if (prepare)
			prepare(arg);
		for (;;)
			pause();
	}
	/* Only asleep in pause(2) its stack does not change any more. */
	snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
	for (int i = 0; i < 5000 && strcmp(call, "34 "); i++, usleep(1000)) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		call[fd >= 0 && read(fd, call, 3) == 3 ? 3 : 0] = '\0';
		close(fd);
	}
	must(pid > 0 && !strcmp(call, "34 "), "a child that waits");
	return pid;
}

static void end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static Ckpt__Mm *areas_of(pid_t pid)
{
	Ckpt__Mm *mm = ckpt_new(arena, Ckpt__Mm);
	struct ckpt_err err;
	struct ckpt_map *m;
	size_t n;
	int fd = self_open_proc(NULL, pid, "smaps", &err);

	must(fd >= 0 && ckpt_maps_read(arena, fd, &m, &n, &err) == 0, "its areas");
	close(fd);
	ckpt__mm__init(mm);
	mm->areas = ckpt_alloc(arena, n * sizeof(mm->areas[0]));
	for (size_t i = 0; i < n; i++) {
		Ckpt__Area *a = ckpt_new(arena, Ckpt__Area);

		if (!strcmp(m[i].name, "[vsyscall]"))
			continue;
		ckpt__area__init(a);
		a->start = m[i].start;
		a->end = m[i].end;
		a->shared = m[i].shared;
		a->file = m[i].ino;
		a->offset = m[i].offset;
		a->flags = !strncmp(m[i].name, "[v", 2) ? CKPT__AREA__FLAG__VDSO : 0;
		mm->areas[mm->n_areas++] = a;
	}
	return mm;
}

/* GENTLY: in the way that leaves shared pages shared. */
static struct ckpt_task *add(struct ckpt_memory_work *work, pid_t pid,
			     const struct ckpt_task *parent, bool gently)
{
	struct ckpt_task *task = ckpt_new(arena, struct ckpt_task);
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_scan found;
	struct ckpt_span *all = ckpt_new(arena, struct ckpt_span);
	struct ckpt_memory_task add = { .task = task,
					.parent = parent,
					.found = &found,
					.shared = all };

	*all = (struct ckpt_span){ 0, UINT64_MAX };
	add.pagemap_fd = self_open_proc(NULL, pid, "pagemap", &err);
	add.n_shared = gently;
	task->pid = pid;
	task->mm = areas_of(pid);
	if (add.pagemap_fd < 0 ||
	    ckpt_memory_scan(arena, add.pagemap_fd, NULL, false, &found, &err) < 0 ||
	    ckpt_memory_add_task(work, &add, &err) < 0)
		diag("%s", err.text);
	close(add.pagemap_fd);
	return task;
}

/* Where the page at ADDRESS is stored, -1: it is not. */
static int64_t stored(const struct ckpt_pages *pages, uint64_t address)
{
	for (size_t i = 0; i < pages->n; i++) {
		const struct ckpt_run *run = &pages->run[i];

		if (address >= run->at && address < run->at + run->n_pages * PAGE)
			return run->offset + (address - run->at);
	}
	return -1;
}

/* By so many threads, into so many files, which are one afterwards. */
static int copy(struct ckpt_memory_work *work, unsigned int n_threads)
{
	const struct ckpt_pages_files files = test_pages_files(ckpt_memory_size(work), n_threads);
	struct ckpt_memory_copy how = { .files = &files, .n_threads = n_threads };
	struct ckpt_err err = CKPT_ERR_INIT;
	uint32_t *crc = NULL;
	size_t n, wrong = 0;
	char *all;

	if (!ok(ckpt_memory_copy(work, &how, &crc, &n, &err) == 0, "copied by %u threads",
		n_threads))
		diag("%s", err.text);
	is(test_pages_join(&files), ckpt_memory_size(work),
	   "the files have the size that was said");
	all = mmap(NULL, ckpt_memory_size(work), PROT_READ, MAP_SHARED, files.part[0].fd, 0);
	for (size_t i = 0; i < n; i++) {
		size_t at = i * CKPT_CHUNK, left = ckpt_memory_size(work) - at;

		wrong += ckpt_crc32c(0, all + at, left < CKPT_CHUNK ? left : CKPT_CHUNK) != crc[i];
	}
	is(wrong, 0, "checksums fit");
	munmap(all, ckpt_memory_size(work));
	return files.part[0].fd;
}

/* Pages in the file against the memory of the task. */
static size_t compare(int fd, pid_t pid, const struct ckpt_pages *pages)
{
	size_t wrong = 0;

	for (size_t i = 0; i < pages->n; i++) {
		for (uint64_t k = 0; k < pages->run[i].n_pages; k++) {
			char stored_page[PAGE], page[PAGE];
			struct iovec range = { (void *)(pages->run[i].at + k * PAGE), PAGE };
			struct ckpt_err err;

			wrong += read_mem(NULL, pid, &range, 1, page, &err) < 0 ||
				 pread(fd, stored_page, PAGE, pages->run[i].offset + k * PAGE) !=
					 (ssize_t)PAGE ||
				 memcmp(page, stored_page, PAGE) != 0;
		}
	}
	return wrong;
}

static char *anonymous(size_t size)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	madvise(p, size, MADV_NOHUGEPAGE);
	return p;
}

static void touch_even_pages(void *arg)
{
	for (size_t i = 0; i < 1024; i += 2)
		((char *)arg)[i * PAGE] = i + 1;
}

static void test_scattered(void)
{
	char *p = anonymous(1024 * PAGE), *seen = anonymous(16 * PAGE);
	struct ckpt_memory_work *work = ckpt_memory_open(&source, arena);
	volatile char zero = 0;
	size_t even = 0, odd = 0, zeroes = 0;
	pid_t pid = waiting_child(touch_even_pages, p);
	struct ckpt_task *task;
	int fd;

	for (size_t i = 0; i < 16; i++)
		zero += seen[i * PAGE];
	task = add(work, pid, NULL, false);
	for (size_t i = 0; i < 1024; i++)
		*(i % 2 ? &odd : &even) += stored(&task->pages, (uintptr_t)p + i * PAGE) >= 0;
	for (size_t i = 0; i < 16; i++)
		zeroes += stored(&task->pages, (uintptr_t)seen + i * PAGE) >= 0;
	is(even, 512, "pages that were written are stored");
	is(odd, 0, "others are not");
	is(zeroes, 0, "nor are pages that were only read");
	fd = copy(work, 1);
	is(compare(fd, pid, &task->pages), 0, "one thread copies what is there");
	close(fd);
	fd = copy(work, 4);
	is(compare(fd, pid, &task->pages), 0, "and so do four");
	close(fd);
	end_child(pid);
	munmap(p, 1024 * PAGE);
	munmap(seen, 16 * PAGE);
}

static void touch_tenth_pages(void *arg)
{
	for (size_t i = 0; i < 256; i += 10)
		((char *)arg)[i * PAGE] = 99;
}

/* Of the area at P. */
static long shared_kb(pid_t pid, const char *p)
{
	struct ckpt_err err;
	struct ckpt_map *m;
	size_t n;
	int fd = self_open_proc(NULL, pid, "smaps", &err);
	long kb = -1;

	must(ckpt_maps_read(arena, fd, &m, &n, &err) == 0, "areas are read");
	for (size_t i = 0; i < n; i++) {
		if (m[i].start <= (uintptr_t)p && (uintptr_t)p < m[i].end)
			kb = m[i].shared_kb;
	}
	close(fd);
	return kb;
}

/* We are the parent here; the child has a child of its own. */
static void test_shared(bool as_user)
{
	char *p = anonymous(256 * PAGE);
	struct ckpt_memory_work *work = ckpt_memory_open(&source, arena);
	size_t common = 0, own = 0, late = 0;
	struct ckpt_task *parent, *child;
	pid_t first, second;
	int fd;

	for (size_t i = 0; i < 256; i++)
		p[i * PAGE] = i + 1;
	first = waiting_child(NULL, NULL);
	second = waiting_child(touch_tenth_pages, p);
	parent = add(work, first, NULL, true);
	child = add(work, second, parent, true);
	for (size_t i = 0; i < 256; i++) {
		uint64_t at = (uintptr_t)p + i * PAGE;
		bool same = stored(&parent->pages, at) == stored(&child->pages, at);

		*(i % 10 ? &common : &own) += same;
		late += stored(&child->pages, at) < 0;
	}
	is(common, 230,
	   as_user ? "equal pages are stored once (compared)" :
		     "shared pages are stored once (frames)");
	ok(!own && !late, "those that were written are not, and all are stored");
	fd = copy(work, 2);
	ok(shared_kb(second, p) >= 230 * 4, "they are still shared");
	is(compare(fd, first, &parent->pages), 0, "the parent is what it was");
	is(compare(fd, second, &child->pages), 0, "the child too");
	close(fd);
	end_child(first);
	end_child(second);
	munmap(p, 256 * PAGE);
}

static void test_file(void)
{
	int mem = memfd_create("content", 0), again;
	struct ckpt_memory_work *work = ckpt_memory_open(&source, arena);
	struct ckpt_object obj = { .id = 1, .has_content = true, .content_size = 10 * MIB + 5 };
	struct ckpt_err err = CKPT_ERR_INIT;
	char page[PAGE];
	int fd;

	if (ftruncate(mem, obj.content_size) || pwrite(mem, "begin", 5, 0) != 5 ||
	    pwrite(mem, "mid", 3, 5 * MIB - 1) != 3 || pwrite(mem, "end", 3, 10 * MIB + 2) != 3)
		exit(1);
	again = dup(mem);
	is(ckpt_memory_add_file(work, &obj, again, true, &err), 0, "a file with holes");
	is(obj.content.n, 3, "has three runs");
	is(ckpt_memory_size(work), 4 * PAGE, "of four pages in all");
	fd = copy(work, 1);
	is(pread(fd, page, PAGE, 3 * PAGE), PAGE, "the last page is whole");
	ok(!memcmp(page + 2, "end", 3) && !page[5] && !page[PAGE - 1], "and ends in zeroes");
	close(fd);
	ckpt_memory_close(work);
	close(mem);
}

/* As an ordinary user has it: no descriptor, just somebody who has it mapped. */
static void test_mapped(void)
{
	char *p =
		mmap(NULL, 3000 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct ckpt_memory_work *work = ckpt_memory_open(&source, arena);
	struct ckpt_object obj = { .id = 1, .has_content = true, .content_size = 3000 * PAGE };
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_piece piece[2];
	size_t wrong = 0, in_core = 0;
	unsigned char vec[3000];
	pid_t pid;
	int fd;

	for (size_t i = 0; i < 3000; i += 7)
		p[i * PAGE] = i + 1;
	pid = waiting_child(NULL, NULL);
	/* The second piece first, and both overlap. */
	piece[0] = (struct ckpt_piece){ pid, (uintptr_t)p + 1000 * PAGE, (uintptr_t)p + 3000 * PAGE,
					1000 * PAGE, true };
	piece[1] = (struct ckpt_piece){ pid, (uintptr_t)p, (uintptr_t)p + 1500 * PAGE, 0, true };
	is(ckpt_memory_add_mapped(work, &obj, piece, 2, true, &err), 0,
	   "shared memory without a descriptor");
	is(ckpt_memory_size(work) / PAGE, 429, "its pages are found");
	fd = copy(work, 2);
	for (size_t i = 0; i < 3000; i++) {
		int64_t at = stored(&obj.content, i * PAGE);
		char c = 0;

		wrong += (at >= 0) != (i % 7 == 0) ||
			 (at >= 0 && (pread(fd, &c, 1, at) != 1 || c != (char)(i + 1)));
	}
	is(wrong, 0, "and copied");
	mincore(p, 3000 * PAGE, vec);
	for (size_t i = 0; i < 3000; i++)
		in_core += vec[i] & 1;
	is(in_core, 429, "no hole was filled by looking");
	close(fd);
	end_child(pid);
	munmap(p, 3000 * PAGE);
}

/* A deleted file that is only mapped, privately, and has been written to in part. */
static void test_mapped_private(void)
{
	char path[] = "/tmp/test-pages-XXXXXX", content[3 * PAGE + 10];
	struct ckpt_memory_work *work = ckpt_memory_open(&source, arena);
	struct ckpt_object obj = { .id = 1, .has_content = true, .content_size = 4 * PAGE };
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_piece piece;
	int fd = mkstemp(path);
	char *p, page[PAGE];
	pid_t pid;

	memset(content, 'f', sizeof(content));
	memset(content + 2 * PAGE, 0, PAGE);
	if (fd < 0 || write(fd, content, sizeof(content)) != sizeof(content))
		exit(1);
	p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	close(fd);
	unlink(path);
	p[PAGE] = 'w';
	pid = waiting_child(NULL, NULL);
	piece = (struct ckpt_piece){ pid, (uintptr_t)p, (uintptr_t)p + 4 * PAGE, 0, false };
	is(ckpt_memory_add_mapped(work, &obj, &piece, 1, false, &err), 0,
	   "a deleted file, mapped privately");
	ok(stored(&obj.content, 0) >= 0 && stored(&obj.content, 3 * PAGE) >= 0,
	   "pages of the file are stored");
	is(stored(&obj.content, PAGE), -1, "a page that the task has changed is not of the file");
	is(stored(&obj.content, 2 * PAGE), -1, "zeroes need no place");
	fd = copy(work, 1);
	is(pread(fd, page, PAGE, stored(&obj.content, 0)), PAGE, "read back");
	ok(page[0] == 'f' && page[PAGE - 1] == 'f', "as it was");
	close(fd);
	end_child(pid);
	munmap(p, 4 * PAGE);
}

#define GUARD_INSTALL 102 /* MADV_GUARD_INSTALL, Linux 6.13 */

static void test_guard(void)
{
	char *p = anonymous(16 * PAGE);
	struct ckpt_memory_work *work = ckpt_memory_open(&source, arena);
	struct ckpt_err err = CKPT_ERR_INIT;
	struct ckpt_task task = { 0 };
	struct ckpt_scan found;
	struct ckpt_memory_task add = { .task = &task, .found = &found };
	pid_t pid;

	memset(p, 1, 16 * PAGE);
	if (madvise(p + 4 * PAGE, 2 * PAGE, GUARD_INSTALL) < 0) {
		diag("this kernel has no guard pages");
		return;
	}
	pid = waiting_child(NULL, NULL);
	task.pid = pid;
	task.mm = areas_of(pid);
	add.pagemap_fd = self_open_proc(NULL, pid, "pagemap", &err);
	must(ckpt_memory_scan(arena, add.pagemap_fd, NULL, false, &found, &err) == 0, "a scan");
	is(ckpt_memory_add_task(work, &add, &err), 0, "guard regions are found");
	ok(task.mm->n_guards == 2 && task.mm->guards[0] == (uintptr_t)p + 4 * PAGE, "by address");
	close(add.pagemap_fd);
	end_child(pid);
	munmap(p, 16 * PAGE);
}

static int stop(void *arg, struct ckpt_err *err)
{
	++*(int *)arg;
	return ckpt_fail(err, -ECANCELED, "enough");
}

static void test_stops(void)
{
	char *p = anonymous(64 * MIB);
	struct ckpt_memory_work *work = ckpt_memory_open(&source, arena);
	struct ckpt_err err = CKPT_ERR_INIT;
	const struct ckpt_pages_files files = { 1, { { 0, memfd_create("pages", 0) } } };
	int asked = 0;
	struct ckpt_memory_copy how = { .files = &files,
					.n_threads = 2,
					.go_on = stop,
					.go_on_arg = &asked };
	uint32_t *crc = NULL;
	size_t n;
	pid_t pid;

	memset(p, 1, 64 * MIB);
	pid = waiting_child(NULL, NULL);
	add(work, pid, NULL, false);
	is(ckpt_memory_copy(work, &how, &crc, &n, &err), -ECANCELED,
	   "a copy stops when it is told to");
	ok(asked == 1 && !strcmp(err.text, "enough"), "and says why");
	end_child(pid);
	how.go_on = NULL;
	is(ckpt_memory_copy(work, &how, &crc, &n, &err), -EFAULT,
	   "a target that has gone is an error");
	close(files.part[0].fd);
	munmap(p, 64 * MIB);
}

int main(void)
{
	struct ckpt_err err;

	if (ckpt_arena_open(&arena, 1ul << 30, &err) < 0)
		return 1;
	test_scattered();
	test_shared(false);
	test_file();
	test_mapped();
	test_mapped_private();
	test_guard();
	test_stops();
	/* Frame numbers are for the privileged. */
	if (!getuid() && !setgid(65534) && !setuid(65534) && !prctl(PR_SET_DUMPABLE, 1))
		test_shared(true);
	ckpt_arena_close(arena);
	return tap_end();
}
