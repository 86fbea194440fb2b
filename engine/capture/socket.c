/* SPDX-License-Identifier: Apache-2.0 */
/* An option is kept as the bytes that the kernel shows, network devices by their names. */
#include <errno.h>
#include <arpa/inet.h>
#include <linux/filter.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "engine/base/cleanup.h"
#include "engine/capture/socket-options.h"
#include "engine/capture/socket.h"

#define MAX_FILTER 4096 /* BPF_MAXINSNS */

/* Length of the value, or -1. */
static int get(int fd, const struct ckpt_socket_option *o, uint8_t *value)
{
	socklen_t len = o->room;

	memset(value, 0, o->room);
	return getsockopt(fd, o->level, o->option, value, &len) < 0 ? -1 : (int)len;
}

static bool is_normal(const struct ckpt_socket_option *o, const uint8_t *value, int len)
{
	uint8_t normal[CKPT_OPTION_ROOM] = { 0 };

	memcpy(normal, &o->normal, sizeof(o->normal));
	return !len || !memcmp(value, normal, len);
}

/* 1: it is not as in *FRESHP, a socket of the same sort that is made for the comparison. */
static int differs(struct ckpt_collect *c, const struct ckpt_socket_option *o, int *freshp,
		   const uint8_t *value, int len)
{
	const struct ckpt_probe *p = c->probe;
	uint8_t other[CKPT_OPTION_ROOM];

	if (*freshp < 0)
		*freshp = socket(p->domain, p->type | SOCK_CLOEXEC, p->protocol);
	if (*freshp < 0)
		return 1;
	return get(*freshp, o, other) != len || memcmp(value, other, len) != 0;
}

static bool fits(const struct ckpt_socket_table *t, const struct ckpt_probe *p)
{
	return (t->domain < 0 || t->domain == p->domain) && (t->type < 0 || t->type == p->type) &&
	       (t->protocol < 0 || t->protocol == p->protocol);
}

/* A device has another number elsewhere; one that is gone stays a number without a name. */
static int to_name(const struct ckpt_socket_option *o, uint8_t *value, int len)
{
	char name[IF_NAMESIZE];
	uint32_t n;

	if (!(o->flags & (CKPT_OPTION_DEVICE | CKPT_OPTION_DEVICE_BE)) || len != sizeof(n))
		return len;
	memcpy(&n, value, sizeof(n));
	if (o->flags & CKPT_OPTION_DEVICE_BE)
		n = ntohl(n);
	if (!n || !if_indextoname(n, name))
		return 0;
	memcpy(value, name, strlen(name));
	return strlen(name);
}

static void keep(struct ckpt_collect *c, Ckpt__Socket *s, size_t *roomp,
		 const struct ckpt_socket_option *o, const uint8_t *value, int len)
{
	Ckpt__SocketOption *m = ckpt_new(c->arena, Ckpt__SocketOption);

	ckpt__socket_option__init(m);
	m->level = o->level;
	m->option = o->option;
	m->value.len = len;
	m->value.data = memcpy(ckpt_alloc(c->arena, len + 1), value, len);
	s->options = ckpt_grow(c->arena, s->options, s->n_options, roomp, 8, sizeof(m));
	s->options[s->n_options++] = m;
}

static void collect_options(struct ckpt_collect *c, bool connected, Ckpt__Socket *s)
{
	uint8_t value[CKPT_OPTION_ROOM];
	CKPT_FD fresh = -1;
	size_t room = 0;

	for (unsigned int i = 0; i < ckpt_n_socket_tables; i++) {
		const struct ckpt_socket_table *t = &ckpt_socket_tables[i];

		for (unsigned int j = 0; fits(t, c->probe) && j < t->n; j++) {
			const struct ckpt_socket_option *o = &t->option[j];
			int len = get(c->fd, o, value);

			if (len < 0 || len > o->room || (connected && o->flags & CKPT_OPTION_OWN))
				continue;
			if (o->flags & CKPT_OPTION_FRESH ?
				    !differs(c, o, &fresh, value, len) :
				    !(o->flags & CKPT_OPTION_KEEP) && is_normal(o, value, len))
				continue;
			len = to_name(o, value, len);
			keep(c, s, &room, o, value, len);
		}
	}
}

/* The kernel counts instructions here, not bytes. */
static int collect_filter(struct ckpt_collect *c, Ckpt__Socket *s, struct ckpt_err *err)
{
	socklen_t n = 0;

	if (getsockopt(c->fd, SOL_SOCKET, SO_GET_FILTER, NULL, &n) < 0) {
		if (errno != EACCES)
			return 0; /* a family without filters */
		return ckpt_refuse(err, CKPT_E_FILE_KIND, -EOPNOTSUPP,
				   "%s: it has a packet filter that is an eBPF program",
				   c->probe->link);
	}
	if (!n)
		return 0;
	s->has_filter = true;
	s->filter.len = n * sizeof(struct sock_filter);
	s->filter.data = ckpt_alloc(c->arena, s->filter.len);
	if (getsockopt(c->fd, SOL_SOCKET, SO_GET_FILTER, s->filter.data, &n) < 0)
		return ckpt_fail(err, -errno, "%s: cannot read its packet filter", c->probe->link);
	return 0;
}

int ckpt_socket_collect(struct ckpt_collect *c, bool connected, Ckpt__Socket **socketp,
			struct ckpt_err *err)
{
	Ckpt__Socket *s = *socketp = ckpt_new(c->arena, Ckpt__Socket);

	ckpt__socket__init(s);
	s->has_uid = s->has_gid = true;
	s->uid = c->probe->st.st_uid;
	s->gid = c->probe->st.st_gid;
	collect_options(c, connected, s);
	return collect_filter(c, s, err);
}

bool ckpt_socket_sane(const Ckpt__Socket *s)
{
	for (size_t i = 0; i < s->n_options; i++) {
		const Ckpt__SocketOption *m = s->options[i];
		const struct ckpt_socket_option *o = ckpt_socket_option_find(m->level, m->option);

		if (!o || m->value.len > (o->flags & (CKPT_OPTION_DEVICE | CKPT_OPTION_DEVICE_BE) ?
						  IF_NAMESIZE - 1 :
						  o->room))
			return false;
		if (o->flags & CKPT_OPTION_BUFFER && m->value.len != sizeof(int))
			return false;
	}
	return s->filter.len % sizeof(struct sock_filter) == 0 &&
	       s->filter.len / sizeof(struct sock_filter) <= MAX_FILTER;
}

static int set_device(int fd, const struct ckpt_socket_option *o, const uint8_t *value, size_t len)
{
	char name[IF_NAMESIZE] = { 0 };
	uint32_t n;

	memcpy(name, value, len);
	n = len ? if_nametoindex(name) : 0;
	if (len && !n)
		return -1;
	if (o->flags & CKPT_OPTION_DEVICE_BE)
		n = htonl(n);
	return setsockopt(fd, o->level, o->option, &n, sizeof(n));
}

/* A buffer that may not be as large as it was gets the largest that may be had: it is a matter of
 * speed. */
static int set_buffer(int fd, const struct ckpt_socket_option *o, const uint8_t *value)
{
	int n, half;

	memcpy(&n, value, sizeof(n));
	half = n / 2;
	if (setsockopt(fd, o->level, o->force, &half, sizeof(half)) == 0)
		return 0;
	return setsockopt(fd, o->level, o->option, &half, sizeof(half));
}

static int set_option(int fd, const struct ckpt_socket_option *o, const uint8_t *value, size_t len,
		      struct ckpt_err *err)
{
	int r;

	if (o->flags & (CKPT_OPTION_DEVICE | CKPT_OPTION_DEVICE_BE))
		r = set_device(fd, o, value, len);
	else if (o->flags & CKPT_OPTION_BUFFER)
		r = set_buffer(fd, o, value);
	else
		r = setsockopt(fd, o->level, o->option, value, len);
	if (r < 0 && errno == EPERM)
		return ckpt_refuse(err, CKPT_E_PRIVILEGE, -EPERM,
				   "cannot set its option %d of level %d: not permitted", o->option,
				   o->level);
	if (r < 0 && errno == ENODEV)
		return ckpt_refuse(err, CKPT_E_NO_DEVICE, -ENODEV,
				   "network device %.*s: is not there", (int)len, value);
	return r < 0 ? ckpt_fail(err, -errno, "cannot set its option %d of level %d", o->option,
				 o->level) :
		       0;
}

static const Ckpt__SocketOption *find(const Ckpt__Socket *s, const struct ckpt_socket_option *o)
{
	for (size_t i = 0; i < s->n_options; i++)
		if (s->options[i]->level == (uint32_t)o->level &&
		    s->options[i]->option == (uint32_t)o->option)
			return s->options[i];
	return NULL;
}

/* What is not in the image was as in a new socket; what FD is, an accepted one for example, need
 * not be. Only of the general table: others are new. */
static int set_table(int fd, const Ckpt__Socket *s, unsigned int late, struct ckpt_err *err)
{
	const struct ckpt_socket_table *t = &ckpt_socket_tables[0];

	for (unsigned int j = 0; j < t->n; j++) {
		const struct ckpt_socket_option *o = &t->option[j];
		const Ckpt__SocketOption *m = find(s, o);
		uint8_t value[CKPT_OPTION_ROOM], want[CKPT_OPTION_ROOM] = { 0 };
		int len, r;

		if ((o->flags & CKPT_OPTION_LATE) != late || (!m && o->flags & CKPT_OPTION_KEEP))
			continue;
		len = get(fd, o, value);
		memcpy(want, &o->normal, sizeof(o->normal));
		if (m)
			memcpy(want, m->value.data, m->value.len);
		if (len < 0 && !m)
			continue;
		if (len > 0 && !memcmp(want, value, len))
			continue;
		r = set_option(fd, o, want, m ? m->value.len : (size_t)len, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int set(int fd, const Ckpt__Socket *s, unsigned int late, struct ckpt_err *err)
{
	int r = set_table(fd, s, late, err);

	for (size_t i = 0; r >= 0 && i < s->n_options; i++) {
		const Ckpt__SocketOption *m = s->options[i];
		const struct ckpt_socket_option *o = ckpt_socket_option_find(m->level, m->option);

		if ((o->flags & CKPT_OPTION_LATE) == late &&
		    (o < ckpt_socket_tables[0].option ||
		     o >= ckpt_socket_tables[0].option + ckpt_socket_tables[0].n))
			r = set_option(fd, o, m->value.data, m->value.len, err);
	}
	return r;
}

int ckpt_socket_set(int fd, const Ckpt__Socket *s, struct ckpt_err *err)
{
	/* EPERM, and EINVAL for ids that this user namespace has not: the plan has called it a
	 * loss. */
	if (s->has_uid && (s->uid != geteuid() || s->gid != getegid()) &&
	    fchown(fd, s->uid, s->gid) < 0 && errno != EPERM && errno != EINVAL)
		return ckpt_fail(err, -errno, "cannot give it to its owner %u", s->uid);
	return set(fd, s, 0, err);
}

int ckpt_socket_set_late(int fd, const Ckpt__Socket *s, struct ckpt_err *err)
{
	struct sock_fprog prog = { .len = s->filter.len / sizeof(struct sock_filter),
				   .filter = (void *)s->filter.data };

	if (s->has_filter && setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) < 0)
		return ckpt_fail(err, -errno, "cannot attach its packet filter");
	return set(fd, s, CKPT_OPTION_LATE, err);
}

void ckpt_socket_widen(int fd)
{
	int most = INT32_MAX / 2;

	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &most, sizeof(most)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &most, sizeof(most));
}
