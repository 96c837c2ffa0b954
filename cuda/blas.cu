/* cuBLAS, opened at run time: the object neither links against it nor needs it to load. Its functions and constants are those
 * of cublas_api.h, which is taken where the toolkit has it, so that the compiler checks them.
 *
 * The same call gives the same bits again on the same device (cuBLAS: "Results reproducibility") as long as one stream
 * uses the handle, with a workspace of its own; cublasSetStream takes the workspace away, so the stream is set once, first.
 * Without that workspace a graph would hold allocations of cuBLAS's. Factors of a product are host values, which a graph
 * keeps. */
#include "blas.h"

#include <dlfcn.h>
#include <library_types.h>

#include "launch.h"

#if __has_include(<cublas_v2.h>)
#include <cublas_v2.h>
#else
struct cublasContext;
typedef struct cublasContext *cublasHandle_t;
enum cublasStatus_t { CUBLAS_STATUS_SUCCESS = 0 };
enum cublasOperation_t { CUBLAS_OP_N = 0, CUBLAS_OP_T = 1 };
enum cublasMath_t { CUBLAS_PEDANTIC_MATH = 2 };
enum cublasGemmAlgo_t { CUBLAS_GEMM_DEFAULT = -1 };
enum cublasComputeType_t {
	CUBLAS_COMPUTE_32F_PEDANTIC = 69, CUBLAS_COMPUTE_32F_FAST_16BF = 75, CUBLAS_COMPUTE_32F_FAST_TF32 = 77,
};
extern "C" {
cublasStatus_t cublasCreate_v2(cublasHandle_t *handle);
cublasStatus_t cublasDestroy_v2(cublasHandle_t handle);
cublasStatus_t cublasGetProperty(libraryPropertyType type, int *value);
const char *cublasGetStatusString(cublasStatus_t status);
cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream);
cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void *workspace, size_t bytes);
cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode);
cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t turn_a, cublasOperation_t turn_b, int m, int n, int k,
                            const void *alpha, const void *a, cudaDataType a_type, int a_stride, const void *b,
                            cudaDataType b_type, int b_stride, const void *beta, void *c, cudaDataType c_type, int c_stride,
                            cublasComputeType_t compute, cublasGemmAlgo_t algorithm);
}
#endif

/* What NVIDIA recommends for compute capability 9.0; 4 MiB would do before that. */
static const size_t workspace_bytes = (size_t)32 << 20;

/* The functions that are used, by the types that they are declared with; cublasGemmEx, which is overloaded, by its own. */
typedef cublasStatus_t multiply_function(cublasHandle_t handle, cublasOperation_t turn_a, cublasOperation_t turn_b, int m,
                                         int n, int k, const void *alpha, const void *a, cudaDataType a_type, int a_stride,
                                         const void *b, cudaDataType b_type, int b_stride, const void *beta, void *c,
                                         cudaDataType c_type, int c_stride, cublasComputeType_t compute,
                                         cublasGemmAlgo_t algorithm);
using declared_so = decltype(static_cast<multiply_function *>(&cublasGemmEx));

struct functions {
	decltype(&cublasCreate_v2) create;
	decltype(&cublasDestroy_v2) destroy;
	decltype(&cublasGetProperty) property;
	decltype(&cublasGetStatusString) status_string;
	decltype(&cublasSetStream_v2) set_stream;
	decltype(&cublasSetWorkspace_v2) set_workspace;
	decltype(&cublasSetMathMode) set_math_mode;
	declared_so multiply;
};

static const struct {
	const char *name;
	size_t at;
} symbols[] = {
	{"cublasCreate_v2", offsetof(struct functions, create)},
	{"cublasDestroy_v2", offsetof(struct functions, destroy)},
	{"cublasGetProperty", offsetof(struct functions, property)},
	{"cublasGetStatusString", offsetof(struct functions, status_string)},
	{"cublasSetStream_v2", offsetof(struct functions, set_stream)},
	{"cublasSetWorkspace_v2", offsetof(struct functions, set_workspace)},
	{"cublasSetMathMode", offsetof(struct functions, set_math_mode)},
	{"cublasGemmEx", offsetof(struct functions, multiply)},
};

struct blas {
	struct functions call;
	cublasHandle_t handle;
	char name[32];
};

/* How products of a precision are computed; operands are stored as floats in every one. */
static const struct {
	enum precision precision;
	cublasComputeType_t compute;
} computes[] = {
	{PRECISION_FP32, CUBLAS_COMPUTE_32F_PEDANTIC},
	{PRECISION_TF32, CUBLAS_COMPUTE_32F_FAST_TF32},
	{PRECISION_BF16, CUBLAS_COMPUTE_32F_FAST_16BF},
};

/* Finds the functions in the newest library that there is, which stays open: it may have more at exit to do. */
static int find_functions(struct functions *call, struct error *error)
{
	static const char *const libraries[] = {"libcublas.so.13", "libcublas.so.12", "libcublas.so.11"};
	void *library = NULL;
	for (size_t l = 0; l < COUNT_OF(libraries) && !library; l++)
		library = dlopen(libraries[l], RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return cuda_error(error, CODE_UNAVAILABLE, "the plain tower needs cuBLAS, which is not here: none of libcublas.so.13, "
		                  ".12 and .11 can be opened (LD_LIBRARY_PATH can name its folder): %s", dlerror());
	for (size_t s = 0; s < COUNT_OF(symbols); s++) {
		void *const symbol = dlsym(library, symbols[s].name);
		if (!symbol)
			return cuda_error(error, CODE_UNAVAILABLE, "this machine's cuBLAS is too old: it has no %s", symbols[s].name);
		memcpy((char *)call + symbols[s].at, &symbol, sizeof symbol);
	}
	return 0;
}

static int check(const struct blas *blas, cublasStatus_t status, const char *what, struct error *error)
{
	if (status == CUBLAS_STATUS_SUCCESS)
		return 0;
	return cuda_error(error, CODE_UNAVAILABLE, "%s cannot be used: %s: %s", blas->name, what,
	                  blas->call.status_string(status));
}

static int open_handle(struct device *device, struct blas *blas, struct error *error)
{
	int version[3] = {0, 0, 0};
	if (find_functions(&blas->call, error) < 0)
		return -1;
	blas->call.property(MAJOR_VERSION, &version[0]);
	blas->call.property(MINOR_VERSION, &version[1]);
	blas->call.property(PATCH_LEVEL, &version[2]);
	snprintf(blas->name, sizeof blas->name, "cuBLAS %d.%d.%d", version[0], version[1], version[2]);
	if (check(blas, blas->call.create(&blas->handle), "creating a handle", error) < 0) {
		blas->handle = NULL;
		return -1;
	}
	if (check(blas, blas->call.set_stream(blas->handle, device_stream(device, STREAM_WORK)), "setting the stream", error) < 0)
		return -1;
	void *const workspace = device_alloc(device, workspace_bytes, 1, "cuBLAS's workspace", error);
	if (!workspace ||
	    check(blas, blas->call.set_workspace(blas->handle, workspace, workspace_bytes), "setting the workspace", error) < 0)
		return -1;
	return check(blas, blas->call.set_math_mode(blas->handle, CUBLAS_PEDANTIC_MATH), "setting the arithmetic", error);
}

struct blas *blas_open(struct device *device, struct error *error)
{
	struct blas *blas = (struct blas *)calloc(1, sizeof *blas);
	if (!blas) {
		cuda_error(error, CODE_SYSTEM, "out of memory: a handle of cuBLAS");
		return NULL;
	}
	if (open_handle(device, blas, error) == 0)
		return blas;
	blas_close(blas);
	return NULL;
}

void blas_close(struct blas *blas)
{
	if (blas && blas->handle)
		blas->call.destroy(blas->handle);
	free(blas);
}

const char *blas_name(const struct blas *blas)
{
	return blas->name;
}

/* cuBLAS has matrices by columns: what is by rows is the transposed one to it, and (a b)^T = b^T a^T. */
void blas_multiply(struct device *device, struct blas *blas, const struct blas_product *p)
{
	const float one = 1.0f, beta = p->adds ? 1.0f : 0.0f;
	size_t c = COUNT_OF(computes) - 1;
	while (c > 0 && computes[c].precision != p->precision)
		c--;
	const cublasStatus_t status = blas->call.multiply(
		blas->handle, p->b_turned ? CUBLAS_OP_T : CUBLAS_OP_N, p->a_turned ? CUBLAS_OP_T : CUBLAS_OP_N, (int)p->columns,
		(int)p->rows, (int)p->inner, &one, p->b, CUDA_R_32F, (int)p->b_stride, p->a, CUDA_R_32F, (int)p->a_stride, &beta,
		p->c, CUDA_R_32F, (int)p->c_stride, computes[c].compute, CUBLAS_GEMM_DEFAULT);
	if (status != CUBLAS_STATUS_SUCCESS)
		cuda_error(&device->failure, CODE_SYSTEM, "cuda:%d: %s: a product of %u x %u x %u: %s", device->number, blas->name,
		           p->rows, p->inner, p->columns, blas->call.status_string(status));
}

size_t blas_room(void)
{
	return (size_t)1 << 26;
}
