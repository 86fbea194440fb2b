/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Will a program have the library? Not those that are linked statically, nor those that get more
 * rights than we have: in these nobody would ever unblock the signal. In doubt: yes.
 */
#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "libinproc/wrap.h"

#define HEADERS 8 /* read at a time */

static bool read_at(int fd, void *buf, size_t len, uint64_t at)
{
	return ckpt_sys(SYS_pread64, fd, buf, len, at) == (int64_t)len;
}

static bool is_static(int fd)
{
	Elf64_Phdr ph[HEADERS];
	Elf64_Ehdr eh;

	/* A script starts a program in turn. */
	if (!read_at(fd, &eh, sizeof(eh), 0) || memcmp(eh.e_ident, ELFMAG, SELFMAG))
		return false;
	if (eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_machine != EM_X86_64)
		return true;
	if (eh.e_phentsize != sizeof(ph[0]))
		return false;
	for (unsigned int i = 0; i < eh.e_phnum; i += HEADERS) {
		unsigned int n = eh.e_phnum - i < HEADERS ? eh.e_phnum - i : HEADERS;

		if (!read_at(fd, ph, n * sizeof(ph[0]), eh.e_phoff + i * sizeof(ph[0])))
			return false;
		for (unsigned int k = 0; k < n; k++) {
			if (ph[k].p_type == PT_INTERP)
				return false;
		}
	}
	return true;
}

/* The dynamic linker takes no library of ours into a program with other rights. */
static bool changes_rights(int fd, const struct stat *st)
{
	if ((st->st_mode & S_ISUID) && st->st_uid != (uid_t)ckpt_sys(SYS_geteuid))
		return true;
	if ((st->st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) &&
	    st->st_gid != (gid_t)ckpt_sys(SYS_getegid))
		return true;
	return ckpt_sys(SYS_fgetxattr, fd, "security.capability", NULL, 0) > 0;
}

static bool loads_fd(int fd)
{
	struct stat st;

	if (ckpt_sys(SYS_fstat, fd, &st) < 0 || !S_ISREG(st.st_mode))
		return true;
	return !changes_rights(fd, &st) && !is_static(fd);
}

struct question {
	int dirfd;
	const char *path;
	bool loads;
};

static void open_and_look(void *arg)
{
	struct question *q = arg;
	int fd = ckpt_sys(SYS_openat, q->dirfd, q->path,
			  O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return;
	q->loads = loads_fd(fd);
	ckpt_sys(SYS_close, fd);
}

static bool loads_at(int dirfd, const char *path)
{
	struct question q = { dirfd, path, true };
	struct stat st;

	/* Devices are not opened just to look. */
	if (ckpt_sys(SYS_newfstatat, dirfd, path, &st, 0) < 0 || !S_ISREG(st.st_mode))
		return true;
	if ((dirfd != AT_FDCWD && path[0] != '/') || !ckpt_apart(open_and_look, &q))
		open_and_look(&q);
	return q.loads;
}

/* As execvp(3) finds it. False: nowhere. */
static bool find(const char *file, char path[PATH_MAX])
{
	const char *list = getenv("PATH");
	size_t len = strlen(file), n;

	if (!list)
		list = "/bin:/usr/bin";
	for (;; list += n + 1) {
		n = strcspn(list, ":");
		if (n + 1 + len < PATH_MAX) {
			memcpy(path, list, n);
			path[n] = '/';
			memcpy(path + n + !!n, file, len + 1);
			if (ckpt_sys(SYS_faccessat, AT_FDCWD, path, X_OK) == 0)
				return true;
		}
		if (!list[n])
			return false;
	}
}

bool ckpt_program_loads(const struct ckpt_launch *l)
{
	char path[PATH_MAX];

	if (!l->path || (!l->path[0] && l->flags & AT_EMPTY_PATH))
		return loads_fd(l->dirfd);
	if (!l->search || strchr(l->path, '/'))
		return loads_at(l->dirfd, l->path);
	return !find(l->path, path) || loads_at(AT_FDCWD, path);
}
