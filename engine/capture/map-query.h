/* SPDX-License-Identifier: Apache-2.0 */
/* PROCMAP_QUERY, Linux 6.11: asks /proc/PID/maps about one area. */
#pragma once
#include <linux/types.h>
#include <sys/ioctl.h>

struct ckpt_procmap_query {
	__u64 size, query_flags, query_addr;
	__u64 vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
	__u32 dev_major, dev_minor, vma_name_size, build_id_size;
	__u64 vma_name_addr, build_id_addr;
};
#define CKPT_PROCMAP_QUERY _IOWR('f', 17, struct ckpt_procmap_query)
