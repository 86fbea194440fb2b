/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For scripts: `liar LIBRARY HOW SEED` looks like a program with the library, and says what it
 * likes to who asks it for a checkpoint: HOW is "tids", "excluded", "copy" for one lie, or
 * "random". Writes "ready" when it can be asked.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "libinproc/wire.h"
#include "tests/lib/proc.h"

static const char *how;
static unsigned int seed;
static volatile uintptr_t token;
static char data[CKPT_WIRE_DATA];

static bool is(const char *what)
{
	return !strcmp(how, what);
}

static void on_signal(int sig, siginfo_t *info, void *uc)
{
	(void)sig, (void)uc;
	token = (uintptr_t)info->si_value.sival_ptr;
}

static int64_t some_number(void)
{
	static const int64_t some[] = { 0,     1,         -1,        -14,         4096,
					32768, 1ll << 32, 1ll << 40, -(1ll << 62) };

	return rand_r(&seed) % 3 ? some[rand_r(&seed) % ARRAY_SIZE(some)] : rand_r(&seed);
}

static void some_bytes(char *at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		at[i] = rand_r(&seed) % 4 ? 0 : rand_r(&seed);
}

static int connect_to(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, CKPT_WIRE_NAME,
		 (unsigned long long)token);
	token = 0;
	return connect(fd, (struct sockaddr *)&name, sizeof(sa_family_t) + 22) ? -1 : fd;
}

static void send_both(int fd, void *head, size_t len, size_t more, int pass)
{
	union {
		struct cmsghdr hdr;
		char buf[CMSG_SPACE(2 * sizeof(int))];
	} control = { 0 };
	struct iovec iov[2] = { { head, len }, { data, more } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	if (pass >= 0) {
		control.hdr = (struct cmsghdr){ CMSG_LEN(2 * sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(&control.hdr), (int[]){ pass, pass }, 2 * sizeof(int));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control.buf);
	}
	sendmsg(fd, &msg, MSG_NOSIGNAL);
}

static void say_hello(int fd)
{
	struct ckpt_wire_hello hello = { .version = CKPT_WIRE_VERSION,
					 .pid = getpid(),
					 .own_fd = fd,
					 .n_threads = 1,
					 .n_excluded = is("excluded") || rand_r(&seed) % 2 };

	*(int32_t *)data = is("tids") ? 1 : getpid();
	if (is("random") && rand_r(&seed) % 8 == 0)
		hello.n_threads = some_number();
	send_both(fd, &hello, sizeof(hello), sizeof(int32_t), -1);
}

/* Of the thread that there is, so that it goes on to what comes then. */
static size_t make_thread(void)
{
	struct ckpt_wire_thread *t = (void *)data;

	t->tid = getpid();
	t->xstate_len = rand_r(&seed) % 4 ? 576 : some_number();
	return sizeof(*t) + 576;
}

static void answer(int fd, const struct ckpt_wire_request *req)
{
	struct ckpt_wire_reply reply = { .ret = is("random") ? some_number() : 0 };
	int ends[2] = { -1, -1 };

	if (is("random"))
		some_bytes(data, sizeof(data));
	reply.len = req->len;
	if (req->verb != CKPT_WIRE_THREADS && rand_r(&seed) % 8 == 0)
		reply.len = rand_r(&seed) % 32768;
	if (req->verb == CKPT_WIRE_THREADS) {
		reply.len = make_thread();
		reply.ret = 1;
	} else if (req->verb == CKPT_WIRE_EXCLUDED && is("excluded")) {
		reply.ret = 1ll << 40;
	} else if (req->verb == CKPT_WIRE_CALLS) {
		reply.ret = 0;
		reply.len = req->len;
	} else if (req->verb == CKPT_WIRE_FORK) {
		reply.ret = is("copy") ? getppid() : reply.ret;
		if (pipe(ends) == 0 && write(ends[1], "x", 1) != 1)
			_exit(1);
	}
	if (is("random") && rand_r(&seed) % 64 == 0)
		reply.len ^= 8;
	send_both(fd, &reply, sizeof(reply), reply.len <= sizeof(data) ? reply.len : 0, ends[0]);
	close(ends[0]);
	close(ends[1]);
}

static void serve(int fd)
{
	static struct {
		struct ckpt_wire_request req;
		char data[CKPT_WIRE_DATA];
	} in;

	say_hello(fd);
	while (recv(fd, &in, sizeof(in), 0) >= (ssize_t)sizeof(in.req)) {
		memcpy(data, in.data, sizeof(data));
		if (in.req.verb == CKPT_WIRE_GO)
			break;
		if (in.req.verb != CKPT_WIRE_LOOK)
			answer(fd, &in.req);
	}
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART };
	int lib = argc == 4 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;

	if (lib < 0 || mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, lib, 0) == MAP_FAILED)
		return 2;
	close(lib);
	how = argv[2];
	seed = atoi(argv[3]);
	sigaction(64, &sa, NULL);
	test_write("ready", "%d\n", getpid());
	for (int i = 0; i < 60000; i++) {
		int fd = token ? connect_to() : -1;

		if (fd >= 0)
			serve(fd);
		close(fd);
		usleep(500);
	}
	return 0;
}
