/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets of page servers. A machine that is gone without a word ends the connection after half a
 * minute: a tree stands still while it is waited for. Nothing here is encrypted, and nobody is
 * asked who he is: that is for ssh; so without --address only this machine is listened to.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "tools/net.h"

#define HERE "127.0.0.1"
#define PORT_MAX 65535
#define CONNECT_MS 10000
#define WAIT_MS 100
#define SILENCE_S 30

/* For good: what ran out here is no matter of who is at the other end. */
static bool has_run_out(int code)
{
	return code == -EMFILE || code == -ENFILE || code == -ENOMEM || code == -ENOBUFS;
}

static int refuse(struct ckpt_err *err, const char *name, const char *what, int code)
{
	if (has_run_out(code))
		return ckpt_fail(err, code, "%s: cannot %s", name, what);
	return ckpt_refuse(err, CKPT_E_NETWORK, code, "%s: cannot %s: %s", name, what,
			   strerrordesc_np(-code));
}

static bool is_path(const char *address)
{
	return address && strchr(address, '/');
}

static bool may_write_to(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && (flags & O_ACCMODE) != O_RDONLY;
}

int ckpt_net_check(struct ckpt_tool *t, bool listens, bool wanted)
{
	const struct ckpt_options *o = &t->opts;

	if (!wanted && !o->address && !o->port && o->ps_socket == CKPT_NOT_GIVEN)
		return 0;
	if (o->status_fd != CKPT_NOT_GIVEN && !may_write_to(o->status_fd))
		return ckpt_refuse(&t->err, CKPT_E_USAGE, -EBADF,
				   "--status-fd %u: nothing is open there to write to",
				   o->status_fd);
	if (!wanted)
		return ckpt_refuse(
			&t->err, CKPT_E_USAGE, -EINVAL,
			"--address, --port, --ps-socket: of what? --page-server is missing, or --lazy-pages");
	if (o->ps_socket != CKPT_NOT_GIVEN && (o->address || o->port))
		return ckpt_refuse(&t->err, CKPT_E_USAGE, -EINVAL,
				   "--ps-socket: it is connected already, to no --address");
	if (o->port > PORT_MAX)
		return ckpt_refuse(&t->err, CKPT_E_USAGE, -EINVAL, "--port %u: there is none",
				   o->port);
	if (is_path(o->address) && o->port)
		return ckpt_refuse(&t->err, CKPT_E_USAGE, -EINVAL,
				   "--port: %s is a Unix socket, which has none", o->address);
	if (!listens && !o->port && !is_path(o->address) && o->ps_socket == CKPT_NOT_GIVEN)
		return ckpt_refuse(
			&t->err, CKPT_E_USAGE, -EINVAL,
			"%s: --port is missing, or the path of a Unix socket as --address",
			o->command->name);
	return 0;
}

/* ---- addresses ---- */

static int unix_address(const char *path, struct sockaddr_un *sa, struct ckpt_err *err)
{
	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(sa->sun_path))
		return ckpt_refuse(err, CKPT_E_NETWORK, -ENAMETOOLONG,
				   "%s: too long for a Unix socket, which has %zu bytes", path,
				   sizeof(sa->sun_path) - 1);
	strcpy(sa->sun_path, path);
	return 0;
}

static const char *name_of(struct ckpt_arena *arena, const struct sockaddr *sa, socklen_t len)
{
	char host[INET6_ADDRSTRLEN + 32] = "?", port[16] = "?", name[96];

	if (sa->sa_family == AF_UNIX)
		return "a process of this machine";
	getnameinfo(sa, len, host, sizeof(host), port, sizeof(port),
		    NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(name, sizeof(name), strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
	return ckpt_strdup(arena, name);
}

static int look_up(struct ckpt_tool *t, int flags, struct addrinfo **listp)
{
	const struct addrinfo hints = { .ai_flags = flags | AI_NUMERICSERV,
					.ai_socktype = SOCK_STREAM };
	const char *host = t->opts.address ? t->opts.address : HERE;
	char port[16];
	int r;

	snprintf(port, sizeof(port), "%u", t->opts.port);
	r = getaddrinfo(host, port, &hints, listp);
	return r ? ckpt_refuse(&t->err, CKPT_E_NETWORK, -EHOSTUNREACH, "%s: no such address: %s",
			       host, gai_strerror(r)) :
		   0;
}

/* Both ends notice when the other machine is gone. */
static void watch_over(int fd)
{
	const int on = 1, idle = SILENCE_S / 3, every = SILENCE_S / 6, tries = 4,
		  ms = SILENCE_S * 1000;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &tries, sizeof(tries));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
}

/* ---- who connects ---- */

static int await_connected(int fd)
{
	struct pollfd done = { .fd = fd, .events = POLLOUT };
	socklen_t len = sizeof(int);
	int code = 0;

	if (poll(&done, 1, CONNECT_MS) <= 0)
		return -ETIMEDOUT;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len);
	return -code;
}

static int connect_one(const struct sockaddr *sa, socklen_t len)
{
	CKPT_FD fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r = fd < 0 || connect(fd, sa, len) < 0 ? -errno : 0;

	if (fd >= 0 && (r == -EINPROGRESS || r == -EAGAIN))
		r = await_connected(fd);
	if (r < 0)
		return r;
	fcntl(fd, F_SETFL, 0);
	watch_over(fd);
	return ckpt_take_fd(&fd);
}

static int connect_any(struct ckpt_tool *t, const char **namep)
{
	struct addrinfo *list;
	int r = look_up(t, 0, &list), fd = -1;

	if (r < 0)
		return r;
	for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
		*namep = name_of(t->arena, a->ai_addr, a->ai_addrlen);
		fd = connect_one(a->ai_addr, a->ai_addrlen);
	}
	freeaddrinfo(list);
	return fd < 0 ? refuse(&t->err, *namep, "connect", fd) : fd;
}

static int given_socket(struct ckpt_tool *t, const char **namep)
{
	char name[32];
	int type = 0, fd;
	socklen_t len = sizeof(type);

	snprintf(name, sizeof(name), "--ps-socket %u", t->opts.ps_socket);
	*namep = ckpt_strdup(t->arena, name);
	if (getsockopt(t->opts.ps_socket, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    type != SOCK_STREAM)
		return ckpt_refuse(&t->err, CKPT_E_USAGE, -ENOTSOCK, "%s: not a stream socket",
				   *namep);
	fd = fcntl(t->opts.ps_socket, F_DUPFD_CLOEXEC, 3);
	return fd < 0 ? ckpt_fail(&t->err, -errno, "%s: cannot use it", *namep) : fd;
}

int ckpt_net_connect_at(struct ckpt_tool *t, const char *path)
{
	struct sockaddr_un sa;
	int fd;

	if (unix_address(path, &sa, &t->err) < 0)
		return t->err.code;
	fd = connect_one((struct sockaddr *)&sa, sizeof(sa));
	return fd < 0 ? refuse(&t->err, path, "connect", fd) : fd;
}

int ckpt_net_connect(struct ckpt_tool *t, const char **namep)
{
	if (t->opts.ps_socket != CKPT_NOT_GIVEN)
		return given_socket(t, namep);
	if (!is_path(t->opts.address))
		return connect_any(t, namep);
	*namep = t->opts.address;
	return ckpt_net_connect_at(t, t->opts.address);
}

/* ---- who listens ---- */

static int bind_and_listen(int fd, const struct sockaddr *sa, socklen_t len)
{
	const int on = 1;

	if (sa->sa_family != AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	return bind(fd, sa, len) < 0 || listen(fd, 8) < 0 ? -errno : 0;
}

/* One that nobody listens to any more is taken away. Other files refuse connections as well. */
static bool is_left_over(const struct sockaddr_un *sa)
{
	struct stat st;

	if (lstat(sa->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	CKPT_FD fd = connect_one((const struct sockaddr *)sa, sizeof(*sa));
	return fd == -ECONNREFUSED;
}

int ckpt_net_listen_at(struct ckpt_tool *t, const char *path, struct ckpt_listener *l)
{
	struct sockaddr_un sa;
	mode_t mask;
	int r = unix_address(path, &sa, &t->err);

	*l = (struct ckpt_listener){ .fd = -1, .connected = -1, .name = path };
	if (r < 0)
		return r;
	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	mask = umask(0177); /* whoever may connect may write an image */
	r = l->fd < 0 ? -errno : bind_and_listen(l->fd, (struct sockaddr *)&sa, sizeof(sa));
	if (r == -EADDRINUSE && is_left_over(&sa) && unlink(path) == 0)
		r = bind_and_listen(l->fd, (struct sockaddr *)&sa, sizeof(sa));
	umask(mask);
	if (r < 0)
		return refuse(&t->err, path, "listen", r);
	l->path = path;
	return 0;
}

int ckpt_net_listen(struct ckpt_tool *t, struct ckpt_listener *l)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct addrinfo *a;
	int r;

	*l = (struct ckpt_listener){ .fd = -1, .connected = -1 };
	if (t->opts.ps_socket != CKPT_NOT_GIVEN) {
		l->connected = given_socket(t, &l->name);
		return l->connected < 0 ? l->connected : 0;
	}
	if (is_path(t->opts.address))
		return ckpt_net_listen_at(t, t->opts.address, l);
	r = look_up(t, AI_PASSIVE, &a);
	if (r < 0)
		return r;
	l->name = name_of(t->arena, a->ai_addr, a->ai_addrlen);
	l->fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	r = l->fd < 0 ? -errno : bind_and_listen(l->fd, a->ai_addr, a->ai_addrlen);
	freeaddrinfo(a);
	if (r < 0)
		return refuse(&t->err, l->name, "listen", r);
	getsockname(l->fd, (struct sockaddr *)&sa, &len);
	l->name = name_of(t->arena, (struct sockaddr *)&sa, len);
	return 0;
}

int ckpt_net_accept(const struct ckpt_listener *l, int (*go_on)(void *arg, struct ckpt_err *err),
		    void *arg, const char **namep, struct ckpt_arena *arena, struct ckpt_err *err)
{
	struct pollfd there = { .fd = l->fd, .events = POLLIN };
	struct sockaddr_storage sa;

	*namep = l->name;
	if (l->connected >= 0) {
		int fd = fcntl(l->connected, F_DUPFD_CLOEXEC, 3);

		return fd < 0 ? refuse(err, l->name, "use it", -errno) : fd;
	}
	for (;;) {
		socklen_t len = sizeof(sa);
		int r = go_on(arg, err), fd;

		if (r < 0)
			return r;
		if (poll(&there, 1, WAIT_MS) <= 0)
			continue;
		fd = accept4(l->fd, (struct sockaddr *)&sa, &len, SOCK_CLOEXEC);
		if (fd < 0 && has_run_out(-errno)) /* it would again, at once */
			return refuse(err, l->name, "accept who connects", -errno);
		if (fd < 0)
			continue;
		*namep = name_of(arena, (struct sockaddr *)&sa, len);
		watch_over(fd);
		return fd;
	}
}

void ckpt_net_close(struct ckpt_listener *l)
{
	ckpt_close_fd(&l->fd);
	ckpt_close_fd(&l->connected);
	l->fd = l->connected = -1;
	if (l->path)
		unlink(l->path);
	l->path = NULL;
}

/* ---- readiness ---- */

static void say_ready(const struct ckpt_tool *t, const struct ckpt_listener *l, int pidfile,
		      pid_t pid)
{
	if (pidfile >= 0)
		dprintf(pidfile, "%d", pid);
	ckpt_print(STDOUT_FILENO, "%s: process %d listens at %s\n", t->opts.command->name, pid,
		   l->name);
	if (t->opts.status_fd != CKPT_NOT_GIVEN && write(t->opts.status_fd, "", 1) == 1)
		close(t->opts.status_fd);
}

static void leave_terminal(struct ckpt_tool *t)
{
	CKPT_FD null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	for (int fd = 0; fd < 3 && null >= 0; fd++)
		dup2(null, fd);
	if (t->opts.status_fd != CKPT_NOT_GIVEN && t->opts.status_fd > 2)
		close(t->opts.status_fd);
}

int ckpt_net_ready(struct ckpt_tool *t, const struct ckpt_listener *l)
{
	const char *path = t->opts.pidfile ? ckpt_work_path(t, t->opts.pidfile) : NULL;
	CKPT_FD pidfile = path ? ckpt_pidfile_make(path, &t->err) : -1;
	pid_t pid = 0;

	if (path && pidfile < 0)
		return pidfile;
	if (t->opts.detached && (pid = fork()) < 0) {
		if (path)
			unlink(path);
		return ckpt_fail(&t->err, -errno, "cannot fork");
	}
	if (!t->opts.detached) {
		say_ready(t, l, pidfile, getpid());
	} else if (pid) {
		say_ready(t, l, pidfile, pid);
		_exit(0);
	} else {
		leave_terminal(t);
	}
	return 0;
}
