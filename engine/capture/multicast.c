/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No interface lists the groups of one socket. But the kernel lists all groups that anybody is in,
 * and a socket can be asked for its filter of each of them, which it only has as a member.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include "engine/base/cleanup.h"
#include "engine/base/text.h"
#include "engine/capture/multicast.h"

#define FEW 16
#define MAX_SOURCES 8192

struct asked {
	struct ckpt_collect *c;
	Ckpt__Inet *m;
	size_t room;
	struct ckpt_err *err;
};

static int level_of(size_t ip_len)
{
	return ip_len == 4 ? SOL_IP : SOL_IPV6;
}

static void put_ip(struct sockaddr_storage *a, const uint8_t *ip, size_t len)
{
	memset(a, 0, sizeof(*a));
	a->ss_family = len == 4 ? AF_INET : AF_INET6;
	if (len == 4)
		memcpy(&((struct sockaddr_in *)a)->sin_addr, ip, 4);
	else
		memcpy(&((struct sockaddr_in6 *)a)->sin6_addr, ip, 16);
}

static const uint8_t *get_ip(const struct sockaddr_storage *a)
{
	return a->ss_family == AF_INET ? (void *)&((const struct sockaddr_in *)a)->sin_addr :
					 (void *)&((const struct sockaddr_in6 *)a)->sin6_addr;
}

static struct group_filter *new_filter(struct ckpt_arena *arena, uint32_t n)
{
	struct group_filter *f = ckpt_alloc(arena, GROUP_FILTER_SIZE(n) + sizeof(*f));

	f->gf_numsrc = n;
	return f;
}

/* NULL: it is not in that group. */
static struct group_filter *ask(struct asked *a, uint32_t device, const uint8_t *ip, size_t len)
{
	for (uint32_t room = FEW;; room *= 2) {
		struct group_filter *f = new_filter(a->c->arena, room);
		socklen_t size = GROUP_FILTER_SIZE(room);

		f->gf_interface = device;
		put_ip(&f->gf_group, ip, len);
		if (getsockopt(a->c->fd, level_of(len), MCAST_MSFILTER, f, &size) < 0)
			return NULL;
		if (f->gf_numsrc <= room || room > MAX_SOURCES)
			return f;
	}
}

static ProtobufCBinaryData copy(struct ckpt_arena *arena, const uint8_t *ip, size_t len)
{
	return (ProtobufCBinaryData){ len, memcpy(ckpt_alloc(arena, len), ip, len) };
}

static void try_group(struct asked *a, const char *device, const uint8_t *ip, size_t len)
{
	const struct group_filter *f = ask(a, if_nametoindex(device), ip, len);
	Ckpt__InetGroup *g;

	if (!f)
		return;
	g = ckpt_new(a->c->arena, Ckpt__InetGroup);
	ckpt__inet_group__init(g);
	g->ip = copy(a->c->arena, ip, len);
	g->device = ckpt_strdup(a->c->arena, device);
	g->has_include = g->include = f->gf_fmode == MCAST_INCLUDE;
	g->n_sources = f->gf_numsrc;
	g->sources = ckpt_alloc(a->c->arena, g->n_sources * sizeof(*g->sources));
	for (uint32_t i = 0; i < f->gf_numsrc; i++)
		g->sources[i] = copy(a->c->arena, get_ip(&f->gf_slist[i]), len);
	a->m->groups = ckpt_grow(a->c->arena, a->m->groups, a->m->n_groups, &a->room, 4, sizeof(g));
	a->m->groups[a->m->n_groups++] = g;
}

/* "2<tab>eth0 : ...", then for each group an indented line that begins with it, as the kernel has
 * it in memory. */
static void take_line4(struct asked *a, const char *line, char device[IF_NAMESIZE])
{
	unsigned int index, group;

	if (line[0] != '\t')
		sscanf(line, "%u %15s", &index, device);
	else if (sscanf(line, "%x", &group) == 1)
		try_group(a, device, (const uint8_t *)&group, 4);
}

/* "2    eth0            ff020000000000000000000000000001     1 ..." */
static void take_line6(struct asked *a, const char *line, char device[IF_NAMESIZE])
{
	unsigned int index, byte;
	uint8_t ip[16];
	char hex[33];

	if (sscanf(line, "%u %15s %32s", &index, device, hex) != 3 || strlen(hex) != 32)
		return;
	for (int i = 0; i < 16; i++)
		ip[i] = sscanf(hex + 2 * i, "%2x", &byte) == 1 ? byte : 0;
	try_group(a, device, ip, 16);
}

static int take_file(struct asked *a, const char *path,
		     void (*take)(struct asked *a, const char *line, char device[IF_NAMESIZE]))
{
	CKPT_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	char device[IF_NAMESIZE] = "", *text;
	int r;

	if (fd < 0)
		return 0; /* a kernel without */
	r = ckpt_read_all(a->c->arena, fd, &text, NULL, a->err);
	for (char *line = text; r >= 0 && line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		take(a, line, device);
	}
	return r < 0 ? r : 0;
}

int ckpt_multicast_collect(struct ckpt_collect *c, Ckpt__Inet *m, struct ckpt_err *err)
{
	struct asked a = { .c = c, .m = m, .err = err };
	int r = take_file(&a, "/proc/net/igmp", take_line4);

	return r < 0 || m->domain != AF_INET6 ? r : take_file(&a, "/proc/net/igmp6", take_line6);
}

bool ckpt_multicast_sane(const Ckpt__InetGroup *g)
{
	bool ok = (g->ip.len == 4 || g->ip.len == 16) && strlen(g->device) < IF_NAMESIZE &&
		  g->n_sources <= MAX_SOURCES;

	for (size_t i = 0; i < g->n_sources; i++)
		ok &= g->sources[i].len == g->ip.len;
	return ok;
}

static int set_sources(int fd, const Ckpt__InetGroup *g, uint32_t device)
{
	CKPT_FREE struct group_filter *f = calloc(1, GROUP_FILTER_SIZE(g->n_sources) + sizeof(*f));

	if (!f)
		return -1;
	f->gf_interface = device;
	f->gf_fmode = g->include ? MCAST_INCLUDE : MCAST_EXCLUDE;
	f->gf_numsrc = g->n_sources;
	put_ip(&f->gf_group, g->ip.data, g->ip.len);
	for (size_t i = 0; i < g->n_sources; i++)
		put_ip(&f->gf_slist[i], g->sources[i].data, g->ip.len);
	return setsockopt(fd, level_of(g->ip.len), MCAST_MSFILTER, f,
			  GROUP_FILTER_SIZE(g->n_sources));
}

int ckpt_multicast_join(int fd, const Ckpt__InetGroup *g, struct ckpt_err *err)
{
	struct group_req join = { .gr_interface = if_nametoindex(g->device) };

	if (!join.gr_interface)
		return ckpt_refuse(err, CKPT_E_NO_DEVICE, -ENODEV,
				   "network device %s: is not there", g->device);
	put_ip(&join.gr_group, g->ip.data, g->ip.len);
	if (setsockopt(fd, level_of(g->ip.len), MCAST_JOIN_GROUP, &join, sizeof(join)) < 0 ||
	    ((g->include || g->n_sources) && set_sources(fd, g, join.gr_interface) < 0))
		return ckpt_fail(err, -errno, "cannot join its multicast group on %s", g->device);
	return 0;
}
