/* SPDX-License-Identifier: Apache-2.0 */
/* Character devices without state: opening them again is all there is to it. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "engine/base/cleanup.h"
#include "engine/capture/collect.h"
#include "engine/capture/path.h"
#include "engine/model/object.h"
#include "engine/plan/path.h"
#include "engine/plan/site.h"
#include "proto/chardev.pb-c.h"

#define MEM_MAJOR 1

/* null, zero, full, random, urandom */
static bool is_known(unsigned int minor)
{
	return minor == 3 || minor == 5 || minor == 7 || minor == 8 || minor == 9;
}

static bool match(const struct ckpt_probe *probe)
{
	dev_t dev = probe->st.st_rdev;

	return S_ISCHR(probe->st.st_mode) && !probe->path_only && major(dev) == MEM_MAJOR &&
	       is_known(minor(dev));
}

static int collect(struct ckpt_collect *c, ProtobufCMessage *msg, struct ckpt_err *err)
{
	Ckpt__Chardev *d = (void *)msg;
	const char *path;

	if (ckpt_path_of(c, &path) != CKPT_PATH_SAME)
		return ckpt_refuse(err, CKPT_E_DELETED_FILE, -ENOENT,
				   "device %s: it is not at its path any more", path);
	d->path = (char *)path;
	d->minor = minor(c->probe->st.st_rdev);
	return 0;
}

static int plan(struct ckpt_planner *p, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Chardev *d = (const void *)obj->msg;
	struct stat st;
	char who[CKPT_WHO];

	if (!ckpt_path_sane(d->path) || !is_known(d->minor))
		return ckpt_fail(err, -EBADMSG, "chardev %u: bad path or device number", obj->id);
	if (!ckpt_path_here(p, obj, d->path, S_IFCHR, obj->file.flags, &st) ||
	    !ckpt_planner_host(p))
		return 0;
	if (st.st_rdev != makedev(MEM_MAJOR, d->minor))
		ckpt_problem(p, CKPT_E_FILE_CHANGED, "%sdevice %s: was %u:%u, is %u:%u now",
			     ckpt_path_who(p, obj, who, sizeof(who)), d->path, MEM_MAJOR, d->minor,
			     major(st.st_rdev), minor(st.st_rdev));
	return 0;
}

static int create(struct ckpt_site *site, const struct ckpt_object *obj, struct ckpt_err *err)
{
	const Ckpt__Chardev *d = (const void *)obj->msg;
	CKPT_FD fd = ckpt_path_open(d->path, (obj->file.flags & O_ACCMODE) | O_NOCTTY);
	struct stat st;

	(void)site;
	if (fd < 0)
		return ckpt_fail(err, fd, "device %s: cannot open", d->path);
	if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) ||
	    st.st_rdev != makedev(MEM_MAJOR, d->minor))
		return ckpt_refuse(err, CKPT_E_FILE_CHANGED, -ENODEV,
				   "device %s: it is another one now", d->path);
	return ckpt_take_fd(&fd);
}

const struct ckpt_kind ckpt_kind_chardev = {
	.name = "chardev",
	.scope = CKPT_PER_FILE,
	.message = &ckpt__chardev__descriptor,
	.match = match,
	.collect = collect,
	.plan = plan,
	.create = create,
};
