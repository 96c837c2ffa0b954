/* See cancel.h. */
#include "cancel.h"

#include <pthread.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CANCEL_UNDER_ASAN
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define CANCEL_UNDER_ASAN
#endif

#ifdef CANCEL_UNDER_ASAN
#include <sanitizer/asan_interface.h>

/* A cancelled thread leaves functions without their ends, which would have lifted the guards around their variables:
 * AddressSanitizer's own clean-up at the thread's end would run into them. */
static void lift_guards(void *unused)
{
	enum { DEEP = 1 << 16 }; /* bytes of stack that the work may have used below this frame */
	char *here = __builtin_frame_address(0);
	(void)unused;
	__asan_unpoison_memory_region(here - DEEP, DEEP);
	__asan_handle_no_return();
}
#else
static void lift_guards(void *unused)
{
	(void)unused;
}
#endif

void cancel_refuse(void)
{
	int before;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
}

int cancel_allow_during(cancel_work *work, void *context, size_t slot, struct error *error)
{
	int before, result;
	pthread_cleanup_push(lift_guards, NULL);
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &before);
	result = work(context, slot, error);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
	pthread_cleanup_pop(0);
	return result;
}
