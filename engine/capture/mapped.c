/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files behind mappings. /proc/PID/map_files leads to them even when they are deleted, but only
 * the privileged may follow it; an ordinary user opens the path again and compares, and has nothing
 * to open where the path is gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include "engine/base/cleanup.h"
#include "engine/capture/path.h"
#include "engine/capture/state.h"
#include "engine/plan/path.h"

#define DELETED " (deleted)"

static bool ends_with(const char *s, const char *tail)
{
	size_t n = strlen(s), m = strlen(tail);

	return n >= m && !strcmp(s + n - m, tail);
}

static bool is_shared_anon(const struct ckpt_map *m)
{
	return m->shared && (!strcmp(m->name, "/dev/zero" DELETED) ||
			     !strcmp(m->name, "/anon_hugepage" DELETED) ||
			     !strncmp(m->name, "[anon_shmem:", 12));
}

/* Memory, whatever its name says: no path leads to it. */
static bool is_memory(const struct ckpt_map *m)
{
	return is_shared_anon(m) || !strncmp(m->name, "/memfd:", 7) ||
	       !strncmp(m->name, "/SYSV", 5);
}

/* How the file of an area was opened, as far as the area tells. */
static uint32_t open_mode(const struct ckpt_map *m)
{
	return m->shared && (m->flags & CKPT_MAP(MW) || is_shared_anon(m)) ? O_RDWR : O_RDONLY;
}

static struct ckpt_capture_file *find_mapped(const struct ckpt_capture *c,
					     const struct ckpt_probe *probe, uint32_t flags)
{
	struct ckpt_capture_file *f = c->mapped[ckpt_file_hash(probe->st.st_dev, probe->st.st_ino)];

	while (f &&
	       (f->probe.st.st_dev != probe->st.st_dev || f->probe.st.st_ino != probe->st.st_ino ||
		f->obj->file.flags != flags || strcmp(f->probe.link, probe->link)))
		f = f->next;
	return f;
}

/* An inode that is open somewhere: its descriptor knows what a mapping does not, such as the seals
 * of a memfd. */
static struct ckpt_capture_file *find_open(const struct ckpt_capture *c, const struct stat *st,
					   uint32_t flags)
{
	for (size_t i = 0; i < c->n_files; i++) {
		struct ckpt_capture_file *f = c->files[i];

		if ((f->number >= 0 || f->origin == CKPT_FROM_FLIGHT) &&
		    f->probe.st.st_dev == st->st_dev && f->probe.st.st_ino == st->st_ino &&
		    (f->obj->file.flags & O_ACCMODE) >= flags && !(f->obj->file.flags & O_PATH))
			return f;
	}
	return NULL;
}

/* *FILEP is NULL if no kind wants it, which is a problem and has been added. */
static int add_mapped(struct ckpt_capture *c, struct ckpt_capture_task *t,
		      const struct ckpt_probe *probe, uint32_t flags,
		      struct ckpt_capture_file **filep, struct ckpt_err *err)
{
	uint32_t h = ckpt_file_hash(probe->st.st_dev, probe->st.st_ino);
	const struct ckpt_kind *kind;
	struct ckpt_capture_file *f;
	char what[512];
	int r = ckpt_probe_kind(probe, &kind, err);

	*filep = NULL;
	if (r < 0)
		return r;
	if (!kind) {
		ckpt_probe_describe(probe, what, sizeof(what));
		ckpt_problem_add(c->problems, CKPT_E_AREA_KIND,
				 "%s: mapping of %s: this kind of file cannot be dumped", t->who,
				 what);
		return 0;
	}
	f = *filep = ckpt_capture_file_add(c, kind, probe);
	f->pid = t->frozen->pid;
	f->number = -1;
	f->obj->file.flags = flags;
	f->next = c->mapped[h];
	c->mapped[h] = f;
	return 0;
}

int ckpt_capture_exe(struct ckpt_capture *c, struct ckpt_capture_task *t,
		     struct ckpt_capture_file **filep, struct ckpt_err *err)
{
	struct ckpt_probe probe = { 0 };
	char link[4096 + 16];
	int r = c->src->ops->read_link(c->src, t->frozen->pid, "exe", link, sizeof(link), err);

	if (r < 0)
		return r;
	CKPT_FD fd = c->src->ops->open_proc(c->src, t->frozen->pid, "exe", err);
	if (fd < 0)
		return fd;
	probe.link = link;
	r = ckpt_probe_fill(c, fd, &probe, err);
	if (r < 0)
		return r;
	*filep = find_mapped(c, &probe, O_RDONLY);
	if (*filep)
		return 0;
	r = add_mapped(c, t, &probe, O_RDONLY, filep, err);
	if (*filep) {
		(*filep)->origin = CKPT_FROM_EXE;
		ckpt_capture_file_hold(c, *filep, &fd);
	}
	return r;
}

/* A file that may be mapped but not read can still be looked at. */
static int open_path(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0 && errno == ENAMETOOLONG)
		return ckpt_path_open(path, O_RDONLY | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		fd = open(path, O_PATH | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int open_map_file(struct ckpt_capture *c, pid_t pid, uint64_t start, uint64_t end,
			 struct ckpt_err *err)
{
	char name[64];

	snprintf(name, sizeof(name), "map_files/%llx-%llx", (unsigned long long)start,
		 (unsigned long long)end);
	return c->src->ops->open_proc(c->src, pid, name, err);
}

static int open_origin(struct ckpt_capture *c, const struct ckpt_capture_file *f,
		       struct ckpt_err *err)
{
	int fd = -1;

	switch (f->origin) {
	case CKPT_FROM_FD:
		return c->src->ops->dup_fd(c->src, f->pid, f->number, err);
	case CKPT_FROM_EXE:
		return c->src->ops->open_proc(c->src, f->pid, "exe", err);
	case CKPT_FROM_MAP:
		return open_map_file(c, f->pid, f->start, f->end, err);
	case CKPT_FROM_PATH:
		fd = open_path(f->probe.link);
		return fd < 0 ? ckpt_fail(err, fd, "%s: cannot open", f->probe.link) : fd;
	case CKPT_FROM_FLIGHT:
		fd = fcntl(f->flying, F_DUPFD_CLOEXEC, 0);
		return fd < 0 ? ckpt_fail(err, -errno, "%s: cannot duplicate", f->probe.link) : fd;
	case CKPT_FROM_NOWHERE:
		break;
	}
	return -1;
}

int ckpt_capture_file_open(struct ckpt_capture *c, const struct ckpt_capture_file *f, int *fdp,
			   struct ckpt_err *err)
{
	*fdp = -1;
	if (f->origin == CKPT_FROM_NOWHERE)
		return 0;
	*fdp = open_origin(c, f, err);
	return *fdp < 0 ? *fdp : 0;
}

/* The folder that a deleted file was in tells its file system, if it still is there. */
static long magic_of_folder(const char *path)
{
	char folder[4096];
	struct statfs fs;
	size_t n = strrchr(path, '/') - path;

	if (n >= sizeof(folder))
		return 0;
	memcpy(folder, path, n);
	strcpy(folder + n, n ? "" : "/");
	return statfs(folder, &fs) < 0 ? 0 : fs.f_type;
}

/* All that the maps line says of a file that cannot be reached, and a descriptor that it is open
 * by.
 */
static void probe_nowhere(const struct ckpt_capture *c, const struct ckpt_map *m,
			  struct ckpt_probe *probe)
{
	const struct ckpt_capture_file *f;

	probe->st = (struct stat){ .st_dev = makedev(m->major, m->minor),
				   .st_ino = m->ino,
				   .st_mode = S_IFREG | 0600 };
	probe->st.st_blksize = (blksize_t)m->page_kb << 10;
	probe->fs_magic = m->flags & CKPT_MAP(HT) ? HUGETLBFS_MAGIC :
			  is_memory(m)            ? TMPFS_MAGIC :
						    magic_of_folder(probe->link);
	probe->domain = probe->type = probe->protocol = -1;
	f = find_open(c, &probe->st, O_RDONLY);
	if (!f)
		return;
	probe->st.st_mode = f->probe.st.st_mode;
	probe->st.st_uid = f->probe.st.st_uid;
	probe->st.st_gid = f->probe.st.st_gid;
	probe->st.st_mtim = f->probe.st.st_mtim;
}

/* A file that is behind an area: what it is, and where a descriptor can be had. */
struct found {
	struct ckpt_probe probe;
	enum ckpt_file_origin origin;
	int fd;
};

/* As an ordinary user. */
static int probe_by_path(struct ckpt_capture *c, const struct ckpt_map *m, struct found *found,
			 struct ckpt_err *err)
{
	int r;

	found->origin = CKPT_FROM_PATH;
	found->fd = is_memory(m) ? -ENOENT : open_path(found->probe.link);
	if (found->fd >= 0) {
		r = ckpt_probe_fill(c, found->fd, &found->probe, err);
		if (r < 0)
			return r;
		/* The device is not compared: maps shows that of the super block, which Btrfs and
		 * overlays hide. */
		if (found->probe.st.st_ino == m->ino)
			return 0;
	}
	if (!ends_with(found->probe.link, DELETED))
		return ckpt_refuse(
			err, CKPT_E_DELETED_FILE, -ENOTSUP, "mapped file %s: %s", found->probe.link,
			found->fd < 0 ? "it cannot be reached" : "another file has its path now");
	ckpt_close_fd(&found->fd);
	found->fd = -1;
	found->origin = CKPT_FROM_NOWHERE;
	probe_nowhere(c, m, &found->probe);
	return 0;
}

static bool is_device(const struct stat *st)
{
	return (S_ISCHR(st->st_mode) && st->st_rdev != makedev(1, 5)) || S_ISBLK(st->st_mode);
}

static int probe_area(struct ckpt_capture *c, struct ckpt_capture_task *t, const struct ckpt_map *m,
		      struct found *found, struct ckpt_err *err)
{
	struct stat st = { 0 };
	int r;

	/* Opening a device does things to it. */
	if (!strncmp(m->name, "/dev/", 5) && !is_shared_anon(m) && !stat(found->probe.link, &st) &&
	    is_device(&st))
		return ckpt_refuse(err, CKPT_E_AREA_KIND, -ENOTSUP,
				   "mapping of device %s: it cannot be dumped", found->probe.link);
	if (c->no_map_files)
		return probe_by_path(c, m, found, err);
	found->origin = CKPT_FROM_MAP;
	found->fd = r = open_map_file(c, t->frozen->pid, m->start, m->end, err);
	if (r >= 0)
		return ckpt_probe_fill(c, found->fd, &found->probe, err);
	if (r != -EPERM && r != -EACCES)
		return ckpt_refuse(err, CKPT_E_AREA_KIND, r,
				   "mapping of %s: its file cannot be opened (%s)",
				   found->probe.link, strerrordesc_np(-r));
	c->no_map_files = true;
	return probe_by_path(c, m, found, err);
}

static int resolve_found(struct ckpt_capture *c, struct ckpt_capture_task *t,
			 const struct ckpt_map *m, uint32_t flags, struct found *found,
			 struct ckpt_capture_file **filep, struct ckpt_err *err)
{
	int r = probe_area(c, t, m, found, err);

	if (r < 0)
		return r;
	*filep = find_mapped(c, &found->probe, flags);
	if (*filep)
		return 0;
	r = add_mapped(c, t, &found->probe, flags, filep, err);
	if (*filep) {
		(*filep)->origin = found->origin;
		(*filep)->start = m->start;
		(*filep)->end = m->end;
		ckpt_capture_file_hold(c, *filep, &found->fd);
	}
	return r;
}

static int resolve(struct ckpt_capture *c, struct ckpt_capture_task *t, const struct ckpt_map *m,
		   uint32_t flags, struct ckpt_capture_file **filep, struct ckpt_err *err)
{
	struct found found = { .probe = { .domain = -1, .type = -1, .protocol = -1 }, .fd = -1 };
	int r;

	found.probe.link = is_shared_anon(m) ? "/dev/zero" DELETED :
					       ckpt_plain_name(c->arena, m->name);
	found.probe.st.st_dev = makedev(m->major, m->minor);
	found.probe.st.st_ino = m->ino;
	/* An ordinary user has no other way to the executable if it is deleted. */
	*filep = find_mapped(c, &found.probe, flags);
	if (!*filep && !strncmp(found.probe.link, "/memfd:", 7))
		*filep = find_open(c, &found.probe.st, flags);
	if (*filep)
		return 0;
	r = resolve_found(c, t, m, flags, &found, filep, err);
	ckpt_close_fd(&found.fd);
	return r;
}

static struct ckpt_map_key *find_key(struct ckpt_capture *c, const struct ckpt_map *m,
				     uint32_t flags, bool *newp)
{
	uint32_t h =
		ckpt_file_hash((uint64_t)m->major << 32 | m->minor, m->ino ^ (uint64_t)flags << 48);
	struct ckpt_map_key *k = c->map_key[h];

	while (k && (k->ino != m->ino || k->major != m->major || k->minor != m->minor ||
		     k->flags != flags || strcmp(k->name, m->name)))
		k = k->next;
	*newp = !k;
	if (!k) {
		k = ckpt_new(c->arena, struct ckpt_map_key);
		*k = (struct ckpt_map_key){ .next = c->map_key[h],
					    .ino = m->ino,
					    .major = m->major,
					    .minor = m->minor,
					    .flags = flags,
					    .name = m->name };
		c->map_key[h] = k;
	}
	return k;
}

int ckpt_capture_mapped(struct ckpt_capture *c, struct ckpt_capture_task *t,
			const struct ckpt_map *m, struct ckpt_capture_file **filep,
			struct ckpt_err *err)
{
	uint32_t flags = open_mode(m);
	struct ckpt_capture_file *f;
	struct ckpt_map_key *k;
	bool is_new;

	k = find_key(c, m, flags, &is_new);
	if (is_new) {
		int r = resolve(c, t, m, flags, &k->file, err);

		/* When the copy was made that we look at, nothing mapped had been deleted. */
		if (c->src->thawed_at && (r < 0 || ends_with(m->name, DELETED)))
			return ckpt_fail(err, -ESTALE, "%s: mapped file %s was deleted meanwhile",
					 t->who, m->name);
		if (r < 0 && err->number != CKPT_E_NONE) {
			ckpt_problem_add(c->problems, err->number, "%s: %s", t->who, err->text);
			r = 0;
		}
		if (r < 0)
			return r;
	}
	*filep = f = k->file;
	/* The executable, which was known before its areas were. */
	if (f && f->number < 0 && !f->end && f->pid == t->frozen->pid) {
		f->start = m->start;
		f->end = m->end;
	}
	/* Its size is unknown: as far as anybody has it mapped. */
	if (f && f->origin == CKPT_FROM_NOWHERE) {
		uint64_t end = m->offset + (m->end - m->start);

		if (end > (uint64_t)f->probe.st.st_size)
			f->probe.st.st_size = end;
	}
	return 0;
}
