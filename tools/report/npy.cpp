#include "tools/report/npy.h"

#include <span>

#include "engine/error.h"
#include "tools/files/atomic_file.h"

namespace tapescope {

void write_npy(const std::filesystem::path& path, const Tensor& tensor) {
  const char* type = nullptr;
  switch (tensor.dtype()) {
    case DType::f32:
      type = "<f4";
      break;
    case DType::f64:
      type = "<f8";
      break;
    case DType::i64:
      type = "<i8";
      break;
    case DType::u8:
      type = "|u1";
      break;
    case DType::bf16:
      break;
  }
  if (type == nullptr || tensor.device().kind != DeviceKind::cpu) {
    throw usage_error(
        "{}: a {} tensor on {} cannot be written as .npy; convert it to f32 on the host",
        path.string(), name_of(tensor.dtype()), name_of(tensor.device().kind));
  }
  std::string shape;
  for (std::int64_t extent : tensor.shape()) shape += fmt::format("{}, ", extent);
  if (tensor.shape().rank() > 1) shape.resize(shape.size() - 2);  // (3,) but (3, 4)
  if (tensor.shape().rank() == 1) shape.pop_back();
  std::string header =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", type, shape);
  // Magic, version and length are 10 bytes; the data begins at a multiple of 64.
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  std::string start("\x93NUMPY\x01\x00", 8);
  start += static_cast<char>(header.size() & 255);
  start += static_cast<char>(header.size() >> 8);
  start += header;
  const std::span<const std::byte> parts[] = {
      std::as_bytes(std::span(start)),
      {static_cast<const std::byte*>(tensor.data()), tensor.bytes()}};
  write_atomically(path, parts, Outlives::kill);
}

}  // namespace tapescope
