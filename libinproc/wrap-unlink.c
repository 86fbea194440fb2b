/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever takes the name of a file away: track.c holds it if it is mapped. */
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "libinproc/wrap.h"

#define RENAME_EXCHANGE_ 2 /* of linux/fs.h: nothing goes */
#define NAME_LEN 255

static int done(int held, int ret)
{
	ckpt_track_end(held, ret == 0);
	return ret; /* and errno as it was left */
}

CKPT_EXPORT int unlink(const char *path)
{
	int held = ckpt_track_begin(AT_FDCWD, path);

	return done(held, REAL(unlink)(path));
}

CKPT_EXPORT int unlinkat(int dirfd, const char *path, int flags)
{
	int held = flags & AT_REMOVEDIR ? -1 : ckpt_track_begin(dirfd, path);

	return done(held, REAL(unlinkat)(dirfd, path, flags));
}

CKPT_EXPORT int remove(const char *path)
{
	int held = ckpt_track_begin(AT_FDCWD, path);

	return done(held, REAL(remove)(path));
}

CKPT_EXPORT int rename(const char *from, const char *to)
{
	int held = ckpt_track_begin(AT_FDCWD, to);

	return done(held, REAL(rename)(from, to));
}

CKPT_EXPORT int renameat(int fromfd, const char *from, int tofd, const char *to)
{
	int held = ckpt_track_begin(tofd, to);

	return done(held, REAL(renameat)(fromfd, from, tofd, to));
}

CKPT_EXPORT int renameat2(int fromfd, const char *from, int tofd, const char *to,
			  unsigned int flags)
{
	int held = flags & RENAME_EXCHANGE_ ? -1 : ckpt_track_begin(tofd, to);

	return done(held, REAL(renameat2)(fromfd, from, tofd, to, flags));
}

/* libc deletes these by a call of its own. */
static int track_shm(const char *prefix, const char *name)
{
	char path[32 + NAME_LEN];

	name += strspn(name, "/");
	if (strlen(name) > NAME_LEN - 4)
		return -1;
	strcpy(stpcpy(path, prefix), name);
	return ckpt_track_begin(AT_FDCWD, path);
}

CKPT_EXPORT int shm_unlink(const char *name)
{
	int held = track_shm("/dev/shm/", name);

	return done(held, REAL(shm_unlink)(name));
}

CKPT_EXPORT int sem_unlink(const char *name)
{
	int held = track_shm("/dev/shm/sem.", name);

	return done(held, REAL(sem_unlink)(name));
}
