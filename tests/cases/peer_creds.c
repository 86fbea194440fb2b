/* SPDX-License-Identifier: Apache-2.0 */
/* SO_PEERCRED: who is at the other end of Unix sockets; also processes that have ended, with other
 * ids and groups (where the story runs as root). */
#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/lib/case.h"

#define SO_PEERGROUPS_ 59 /* Linux 4.13 */

static struct sockaddr_un name = { .sun_family = AF_UNIX };
static struct ucred listens, joins;
static int listener, client, accepted, own, later, packets[2], gone[2];

static struct ucred peer_of(int fd)
{
	struct ucred u;
	socklen_t len = sizeof(u);

	CHECK_CALL(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &len));
	return u;
}

static void check_peer(int fd, const struct ucred *want)
{
	struct ucred u = peer_of(fd);

	CHECK_INT(u.pid, want->pid);
	CHECK_INT(u.uid, want->uid);
	CHECK_INT(u.gid, want->gid);
}

static int join(int fd)
{
	return connect(fd, (void *)&name, sizeof(name));
}

static int start(int fd)
{
	return listen(fd, 5);
}

/* A process does that, with ids of its own, and ends. */
static pid_t have_done(int (*act)(int fd), int fd, uid_t id)
{
	pid_t pid = CHECK_CALL(fork());
	gid_t groups[] = { 7, id };

	if (!pid) {
		if (geteuid() == 0 && (setgroups(2, groups) < 0 || setresgid(id, id, id) < 0 ||
				       setresuid(id, id, id) < 0))
			_exit(1);
		_exit(act(fd) < 0);
	}
	CHECK_INT(waitpid(pid, NULL, 0), pid);
	return pid;
}

static int new_socket(void)
{
	return CHECK_CALL(socket(AF_UNIX, SOCK_STREAM, 0));
}

static void setup(void)
{
	bool root = geteuid() == 0;
	pid_t pid;

	name.sun_path[1] = 'p';
	memcpy(name.sun_path + 2, &(int){ getpid() }, sizeof(int));
	listener = new_socket();
	CHECK_CALL(bind(listener, (void *)&name, sizeof(name)));
	pid = have_done(start, listener, 1234);
	listens = (struct ucred){ pid, root ? 1234 : getuid(), root ? 1234 : getgid() };
	client = new_socket();
	pid = have_done(join, client, 1235);
	joins = (struct ucred){ pid, root ? 1235 : getuid(), root ? 1235 : getgid() };
	accepted = CHECK_CALL(accept(listener, NULL, NULL));
	own = new_socket();
	CHECK_CALL(join(own));
	CHECK_CALL(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, packets));
	CHECK_CALL(socketpair(AF_UNIX, SOCK_DGRAM, 0, gone));
	close(gone[1]);
}

static void check_groups(int fd, gid_t id)
{
	gid_t groups[2];
	socklen_t len = sizeof(groups);

	if (geteuid())
		return;
	CHECK_CALL(getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS_, groups, &len));
	CHECK(len == sizeof(groups) && groups[0] == 7 && groups[1] == id);
}

static void check(void)
{
	struct ucred me = { getpid(), geteuid(), getegid() };

	check_peer(client, &listens);
	check_groups(client, 1234);
	check_peer(accepted, &joins);
	check_groups(accepted, 1235);
	check_peer(listener, &listens);
	check_peer(own, &listens);
	check_peer(CHECK_CALL(accept(listener, NULL, NULL)), &me);
	later = new_socket();
	CHECK_CALL(join(later));
	check_peer(later, &listens);
	check_groups(later, 1234);
	check_peer(packets[0], &me);
	check_peer(packets[1], &me);
	check_peer(gone[0], &me);
}

/* What tells no peer goes on doing so; who listens himself, with ids that he has given up since. */
static void setup_self(void)
{
	name.sun_path[1] = 's';
	memcpy(name.sun_path + 2, &(int){ getpid() }, sizeof(int));
	listener = new_socket();
	CHECK_CALL(bind(listener, (void *)&name, sizeof(name)));
	if (geteuid() == 0)
		CHECK_CALL(setegid(77));
	CHECK_CALL(listen(listener, 5));
	listens = (struct ucred){ getpid(), geteuid(), getegid() };
	if (geteuid() == 0)
		CHECK_CALL(setegid(0));
	client = CHECK_CALL(socket(AF_UNIX, SOCK_DGRAM, 0));
	accepted = CHECK_CALL(socket(AF_UNIX, SOCK_DGRAM, 0));
	name.sun_path[1] = 'd';
	CHECK_CALL(bind(client, (void *)&name, sizeof(name)));
	name.sun_path[1] = 'e';
	CHECK_CALL(bind(accepted, (void *)&name, sizeof(name)));
	CHECK_CALL(join(client));
	name.sun_path[1] = 'd';
	CHECK_CALL(join(accepted));
	name.sun_path[1] = 's';
}

static void check_self(void)
{
	static const struct ucred nobody = { 0, -1, -1 };

	check_peer(listener, &listens);
	later = new_socket();
	CHECK_CALL(join(later));
	check_peer(later, &listens);
	check_peer(client, &nobody);
	check_peer(accepted, &nobody);
	CHECK(write(client, "d", 1) == 1 && read(accepted, &name, 2) == 1);
}

CASES({ "peers that have ended keep number, ids and groups", setup, check },
      { "a listener's own ids, and datagrams without", setup_self, check_self })
