/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts of io_setup(2): their names, the events that nobody has asked for, and how far the
 * kernel has come in the ring. */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "tests/lib/case.h"

/* What the kernel has at the start of the ring. */
struct ring {
	uint32_t id, n, head, tail;
};

static aio_context_t small, large, empty;
static int file;
static char text[16];

static void set_up(unsigned int n, aio_context_t *context)
{
	if (syscall(SYS_io_setup, n, context) < 0)
		case_skip("no io_setup: %m");
}

static void submit(aio_context_t context, int opcode, int fd, char *buf, size_t len, uint64_t data)
{
	struct iocb one = { .aio_lio_opcode = opcode,
			    .aio_fildes = fd,
			    .aio_buf = (uintptr_t)buf,
			    .aio_nbytes = len,
			    .aio_data = data };
	struct iocb *all[] = { &one };

	CHECK_INT(CHECK_CALL(syscall(SYS_io_submit, context, 1, all)), 1);
}

static long get(aio_context_t context, struct io_event *event, long n)
{
	struct timespec none = { 0 };

	return CHECK_CALL(syscall(SYS_io_getevents, context, 0, n, event, &none));
}

static uint32_t tail_of(aio_context_t context)
{
	return ((const struct ring *)context)->tail;
}

/* N requests that are done and asked for. */
static void pass(aio_context_t context, unsigned int n)
{
	struct io_event event;

	for (unsigned int i = 0; i < n; i++) {
		submit(context, IOCB_CMD_PREAD, file, text, 4, i);
		CHECK_INT(get(context, &event, 1), 1);
	}
}

static void open_file(void)
{
	char name[32];

	snprintf(name, sizeof(name), "file.%d", getpid()); /* each has its own */
	file = CHECK_CALL(open(name, O_CREAT | O_RDWR, 0644));
	CHECK(write(file, "0123456789", 10) == 10);
}

static void setup(void)
{
	open_file();
	set_up(10, &small);
	set_up(1000, &large);
	set_up(1, &empty);
	pass(small, ((const struct ring *)small)->n + 7); /* once round, and some */
	submit(small, IOCB_CMD_PREAD, file, text, 4, 41);
	submit(small, IOCB_CMD_PREAD, file, NULL, 4, 42);
	pass(large, 70);
	for (uint64_t i = 0; i < 150; i++)
		submit(large, IOCB_CMD_PREAD, file, text, i % 11, i);
}

static void check_small(void)
{
	struct io_event event[3];
	uint32_t tail = tail_of(small);

	CHECK_INT(get(small, event, 3), 2);
	CHECK(event[0].data == 41 && event[0].res == 4);
	CHECK(event[1].data == 42 && event[1].res == -EFAULT);
	CHECK_INT(get(small, event, 3), 0);
	submit(small, IOCB_CMD_PWRITE, file, (char *)"new", 3, 43);
	CHECK_INT(tail_of(small), tail + 1);
	CHECK_INT(get(small, event, 3), 1);
	CHECK(event[0].data == 43 && event[0].res == 3);
	CHECK(pread(file, text, 5, 0) == 5 && !memcmp(text, "new34", 5));
	CHECK_CALL(pwrite(file, "012", 3, 0));
}

/* There is room for as many as before, and no more. */
static void check_large(void)
{
	struct io_event event[200];
	long n;

	for (uint64_t i = 150; i < 160; i++)
		submit(large, IOCB_CMD_PREAD, file, text, i % 11, i);
	n = get(large, event, 200);
	CHECK_INT(n, 160);
	for (long i = 0; i < n; i++)
		CHECK(event[i].data == (uint64_t)i && event[i].res == i % 11);
	pass(large, ((const struct ring *)large)->n);
}

static void check(void)
{
	struct io_event event;

	check_small();
	check_large();
	CHECK_INT(get(empty, &event, 1), 0);
	pass(empty, 5);
	CHECK_CALL(syscall(SYS_io_destroy, small));
	CHECK_CALL(syscall(SYS_io_destroy, large));
	CHECK_CALL(syscall(SYS_io_destroy, empty));
	CHECK(syscall(SYS_io_destroy, small) < 0 && errno == EINVAL);
	small = 0;
	set_up(5, &small);
	pass(small, 3);
}

/* ---- somebody waits for an event ---- */

static volatile int got;
static volatile pid_t waiter;

static void *await(void *arg)
{
	struct io_event event;

	waiter = gettid();
	got = syscall(SYS_io_getevents, small, 1, 1, &event, NULL) == 1 ? (int)event.data : -errno;
	return arg;
}

static void setup_waiter(void)
{
	pthread_t t;

	open_file();
	set_up(10, &small);
	CHECK(!pthread_create(&t, NULL, await, NULL));
	CHECK(EVENTUALLY(waiter != 0));
	case_blocked(0, waiter, SYS_io_getevents);
}

static void check_waiter(void)
{
	CHECK_INT(got, 0);
	submit(small, IOCB_CMD_PREAD, file, text, 4, 44);
	CHECK(EVENTUALLY(got != 0));
	CHECK_INT(got, 44);
}

/* ---- children ---- */

static void setup_family(void)
{
	case_child(setup, check);
	case_child(setup, check);
	setup();
}

static void setup_inherited(void)
{
	set_up(3, &empty);
	case_child(NULL, NULL);
}

static void check_inherited(void)
{
	struct io_event event;

	CHECK_INT(get(empty, &event, 1), 0);
}

CASES({ "contexts keep their events, and go on", setup, check },
      { "who waits for an event gets it", setup_waiter, check_waiter },
      { "a parent and its children have their own", setup_family, check },
      { "one that a child has only the memory of is named", setup_inherited, check_inherited,
	.refused = { "CKPT-E0205", "it is that of another process" } })
