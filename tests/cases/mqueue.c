/* SPDX-License-Identifier: Apache-2.0 */
/* POSIX message queues: with a name they keep their messages, without one they are made again. */
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "tests/lib/case.h"

static mqd_t queue, writer, deleted, same;
static char name[64], buf[64];

static mqd_t make(const char *what, int flags)
{
	struct mq_attr attr = { .mq_maxmsg = 5, .mq_msgsize = 64 };
	mqd_t q;

	snprintf(name, sizeof(name), "/ckpt-test-%s-%d", what, getpid());
	mq_unlink(name);
	q = mq_open(name, O_CREAT | flags, 0640, &attr);
	if (q < 0)
		case_skip("no message queues: %m");
	return q;
}

static void setup(void)
{
	deleted = make("deleted", O_RDWR | O_NONBLOCK);
	same = CHECK_CALL(mq_open(name, O_RDONLY));
	CHECK_CALL(mq_unlink(name));
	queue = make("named", O_RDWR | O_CLOEXEC);
	writer = CHECK_CALL(mq_open(name, O_WRONLY | O_NONBLOCK));
	CHECK_CALL(mq_send(writer, "second", 7, 1));
	CHECK_CALL(mq_send(writer, "first", 6, 2));
}

static void check(void)
{
	struct mq_attr attr;
	unsigned int priority;

	CHECK_INT(mq_receive(queue, buf, sizeof(buf), &priority), 6);
	CHECK_TEXT(buf, "first");
	CHECK_INT(priority, 2);
	CHECK_INT(mq_receive(queue, buf, sizeof(buf), &priority), 7);
	CHECK_TEXT(buf, "second");
	CHECK(mq_receive(writer, buf, sizeof(buf), NULL) < 0 && errno == EBADF);
	CHECK(fcntl(queue, F_GETFD) == FD_CLOEXEC);
	CHECK_CALL(mq_unlink(name));
	CHECK_CALL(mq_getattr(deleted, &attr));
	CHECK_INT(attr.mq_maxmsg, 5);
	CHECK_INT(attr.mq_msgsize, 64);
	CHECK_INT(attr.mq_flags, O_NONBLOCK);
	CHECK(mq_receive(deleted, buf, sizeof(buf), NULL) < 0 && errno == EAGAIN);
	CHECK_CALL(mq_send(deleted, "through", 8, 0));
	CHECK_INT(mq_receive(same, buf, sizeof(buf), NULL), 8);
	CHECK_TEXT(buf, "through");
}

static void setup_full(void)
{
	deleted = make("full", O_RDWR);
	CHECK_CALL(mq_unlink(name));
	CHECK_CALL(mq_send(deleted, "kept", 5, 0));
	CHECK_INT(dup2(deleted, 68), 68);
	close(deleted);
}

static void check_full(void)
{
	CHECK_INT(mq_receive(68, buf, sizeof(buf), NULL), 5);
	CHECK_TEXT(buf, "kept");
}

static void setup_notify(void)
{
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };

	deleted = make("notify", O_RDWR);
	CHECK_CALL(mq_unlink(name));
	CHECK_INT(dup2(deleted, 69), 69);
	close(deleted);
	CHECK_CALL(mq_notify(69, &ev));
}

static void check_notify(void)
{
	CHECK_CALL(mq_notify(69, NULL));
}

CASES({ "message queues keep their messages and their state", setup, check },
      { "messages that nobody else could keep are named", setup_full, check_full,
	.refused = { "fd 68", "CKPT-E0223", "1 messages" } },
      { "who is to be notified is named", setup_notify, check_notify,
	.refused = { "fd 69", "CKPT-E0223", "mq_notify" } })
