/* The lists of what a device has allocated: for a device and for the emulated one alike. */
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
