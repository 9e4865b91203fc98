#include "tools/report/npy.h"

#include <cerrno>
#include <cstring>
#include <fstream>

#include "engine/error.h"

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
  std::ofstream file(path, std::ios::binary);
  file << start << header;
  file.write(static_cast<const char*>(tensor.data()), static_cast<std::streamsize>(tensor.bytes()));
  file.close();
  if (!file) {
    throw failure("{}: the array cannot be written ({}); check that the folder exists and has room",
                  path.string(), std::strerror(errno));
  }
}

}  // namespace tapescope
