/* For a device and for the emulated one alike: the lists of what was allocated, and branches of graphs. */
#include "device.h"

void device_list(struct device *device, void *block, size_t bytes)
{
	device->blocks[device->block_count].at = block;
	device->blocks[device->block_count].bytes = bytes;
	device->block_count++;
	device->bytes += bytes;
}

bool device_unlist(struct device *device, const void *block)
{
	for (size_t b = 0; block && b < device->block_count; b++)
		if (device->blocks[b].at == block) {
			device->bytes -= device->blocks[b].bytes;
			device->blocks[b] = device->blocks[--device->block_count];
			return true;
		}
	return false;
}

struct device_block *device_pinned(struct device *device, const void *block)
{
	for (size_t p = 0; p < DEVICE_PINNED_MAX; p++)
		if (device->pinned[p].at == block)
			return &device->pinned[p];
	return NULL;
}

static size_t mark_of(enum device_stream branch)
{
	return (size_t)DEVICE_OWN_MARKS + branch - DEVICE_OWN_STREAMS;
}

void device_fork(struct device *device, enum device_stream stream, enum device_stream branch)
{
	if (!device->records)
		return;
	device_trunk(device, stream);
	device_mark(device, stream, mark_of(branch));
	device_wait(device, branch, mark_of(branch));
	device->branches[stream] = branch;
}

void device_trunk(struct device *device, enum device_stream stream)
{
	device->branches[stream] = STREAM_WORK;
}

void device_join(struct device *device, enum device_stream stream, enum device_stream branch)
{
	if (!device->records)
		return;
	device_trunk(device, stream);
	device_mark(device, branch, mark_of(branch));
	device_wait(device, stream, mark_of(branch));
}
