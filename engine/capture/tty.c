/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept of a terminal. What nobody has read yet cannot be looked at without taking it out,
 * so it is refused where both ends are in the tree; half a line, which waits for its end, is not
 * even counted by the kernel.
 */
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "engine/base/text.h"
#include "engine/capture/path.h"
#include "engine/capture/tty.h"
#include "engine/plan/tty.h"

/* The Nth field of /proc/PID/stat, from 1; those before the third are of no use here. */
static int stat_field(const char *text, unsigned int n, int64_t *valuep, struct ckpt_err *err)
{
	const char *at = strrchr(text, ')');

	for (unsigned int i = 2; at && i < n; i++) {
		at = strchr(at, ' ');
		at += at != NULL;
	}
	return at && ckpt_parse_i64(&at, 10, valuep) ?
		       0 :
		       ckpt_fail(err, -EBADMSG, "stat: no field %u", n);
}

int ckpt_tty_use(struct ckpt_collect *c, struct ckpt_tty_use *use, struct ckpt_err *err)
{
	char *text;
	int r = ckpt_proc_text(c, "stat", &text, NULL, err);

	if (r >= 0)
		r = stat_field(text, 6, &use->session, err);
	if (r >= 0)
		r = stat_field(text, 7, &use->device, err);
	return r < 0 ? r : stat_field(text, 8, &use->foreground, err);
}

/* The session that the terminal controls, as seen from the task that has it; and its foreground
 * group. */
static int collect_session(struct ckpt_collect *c, Ckpt__Tty *t, struct ckpt_err *err)
{
	struct ckpt_tty_use use;
	int r = ckpt_tty_use(c, &use, err);

	if (r < 0 || (uint32_t)use.device != t->device)
		return r;
	t->has_session = true;
	t->session = use.session;
	t->has_foreground = use.foreground > 0;
	t->foreground = use.foreground > 0 ? use.foreground : 0;
	return 0;
}

static int collect_state(struct ckpt_collect *c, Ckpt__Tty *t, struct ckpt_err *err)
{
	struct termios2 *termios = ckpt_new(c->arena, struct termios2);
	struct winsize size;
	int line = 0, exclusive = 0;

	if (ioctl(c->fd, TIOCGETD, &line) == 0 && line)
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
				   "terminal %s: it has line discipline %d", c->probe->link, line);
	if (ioctl(c->fd, TCGETS2, termios) < 0 || ioctl(c->fd, TIOCGWINSZ, &size) < 0)
		return ckpt_fail(err, -errno, "terminal %s: cannot ask for its state", t->path);
	t->has_exclusive = t->exclusive = ioctl(c->fd, TIOCGEXCL, &exclusive) == 0 && exclusive;
	t->has_termios = t->has_rows = t->has_columns = true;
	t->termios = (ProtobufCBinaryData){ sizeof(*termios), (void *)termios };
	t->rows = size.ws_row;
	t->columns = size.ws_col;
	return 0;
}

/* The path of what /dev/tty stands for. */
static char *path_of(struct ckpt_collect *c, dev_t dev)
{
	char path[64], link[256];
	const char *name;
	ssize_t n;

	if (ckpt_tty_pts(dev) >= 0) {
		snprintf(path, sizeof(path), "/dev/pts/%d", ckpt_tty_pts(dev));
		return ckpt_strdup(c->arena, path);
	}
	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u", major(dev), minor(dev));
	n = readlink(path, link, sizeof(link) - 1);
	link[n > 0 ? n : 0] = '\0';
	name = strrchr(link, '/');
	snprintf(path, sizeof(path), "/dev/%.50s", name ? name + 1 : "tty");
	return ckpt_strdup(c->arena, path);
}

static void collect_pty(struct ckpt_collect *c, Ckpt__Tty *t)
{
	struct pollfd p = { .fd = c->fd };
	int locked = 0, packet = 0;
	Ckpt__Pty *pty = t->pty = ckpt_new(c->arena, Ckpt__Pty);

	ckpt__pty__init(pty);
	pty->master = c->probe->st.st_rdev == CKPT_TTY_MASTER;
	if (!pty->master) {
		pty->has_mode = pty->has_uid = pty->has_gid = !t->alias;
		pty->mode = c->probe->st.st_mode & 07777;
		pty->uid = c->probe->st.st_uid;
		pty->gid = c->probe->st.st_gid;
		return;
	}
	pty->has_locked = pty->locked = ioctl(c->fd, TIOCGPTLCK, &locked) == 0 && locked;
	pty->has_packet = pty->packet = ioctl(c->fd, TIOCGPKT, &packet) == 0 && packet;
	pty->has_closed = pty->closed = poll(&p, 1, 0) == 1 && p.revents & POLLHUP;
}

int ckpt_tty_collect(struct ckpt_collect *c, Ckpt__Tty *t, struct ckpt_err *err)
{
	dev_t dev = c->probe->st.st_rdev;
	unsigned int real;
	const char *path;
	int r, unread = 0;

	t->path = ckpt_strdup(c->arena, c->probe->link);
	if (major(dev) == 2 || (major(dev) >= 128 && major(dev) < 136))
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
				   "terminal %s: pty master without a multiplexer", c->probe->link);
	if (c->flags & O_PATH)
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
				   "terminal %s: it is open as a path only (O_PATH)",
				   c->probe->link);
	if (ioctl(c->fd, TIOCGDEV, &real) < 0) {
		t->has_hung_up = t->hung_up = true;
		t->device = ckpt_tty_encode(dev);
		return 0;
	}
	t->device = real;
	t->has_alias = t->alias = dev == CKPT_TTY_CONTROLLING;
	if (!t->alias && ckpt_path_of(c, &path) != CKPT_PATH_SAME)
		return ckpt_refuse(err, CKPT_E_DELETED_FILE, -ENOENT,
				   "terminal %s: it is not at its path any more", path);
	t->path = t->alias ? path_of(c, ckpt_tty_decode(real)) : (char *)path;
	t->has_unread = ioctl(c->fd, FIONREAD, &unread) == 0 && unread;
	t->unread = unread;
	if (ckpt_tty_pts(ckpt_tty_decode(real)) >= 0)
		collect_pty(c, t);
	r = collect_state(c, t, err);
	return r < 0 ? r : collect_session(c, t, err);
}
