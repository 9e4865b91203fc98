#include <charconv>
#include <cmath>
#include <cstring>

#include "tools/files/half.h"
#include "tools/files/text_file.h"
#include "tools/report/npy.h"

namespace tapescope {
namespace {

struct NpyHeader {
  std::string type;
  Shape shape;
  std::size_t data = 0;  // where the numbers begin
};

class NpyHeaderReader {
 public:
  NpyHeaderReader(const std::string& bytes, std::string name)
      : bytes_(bytes), name_(std::move(name)) {}

  NpyHeader read() {
    if (bytes_.size() < 12 || bytes_.compare(0, 6, "\x93NUMPY") != 0) broken("it is no .npy file");
    const bool short_length = bytes_[6] == 1;
    std::size_t length = byte(8) | byte(9) << 8;
    if (!short_length) length |= byte(10) << 16 | byte(11) << 24;
    const std::size_t begin = short_length ? 10 : 12;
    if (length > bytes_.size() - begin) broken("it is cut short");
    text_ = bytes_.substr(begin, length);
    NpyHeader header;
    header.data = begin + length;
    header.type = quoted_after("'descr'");
    if (after("'fortran_order'").starts_with("True")) {
      broken("its axes are in Fortran's order; save numpy.ascontiguousarray of it");
    }
    header.shape = shape();
    return header;
  }
  [[noreturn]] void broken(const char* why) const {
    throw usage_error("'{}' cannot be read: {}", name_, why);
  }

 private:
  std::size_t byte(std::size_t i) const { return static_cast<unsigned char>(bytes_[i]); }
  std::string_view after(std::string_view key) const {
    const std::size_t at = text_.find(key);
    if (at == std::string::npos) broken("its header says no dtype, order and shape");
    std::string_view rest = std::string_view(text_).substr(at + key.size());
    while (!rest.empty() && (rest[0] == ':' || rest[0] == ' ')) rest.remove_prefix(1);
    return rest;
  }
  std::string quoted_after(std::string_view key) const {
    const std::string_view rest = after(key);
    const std::size_t end = rest.find('\'', 1);
    if (rest.empty() || rest[0] != '\'' || end == std::string_view::npos) {
      broken("its dtype is not a plain one");
    }
    return std::string(rest.substr(1, end - 1));
  }
  Shape shape() const {
    std::string_view rest = after("'shape'");
    std::vector<std::int64_t> extents;
    if (!rest.starts_with("(")) broken("its header says no shape");
    rest.remove_prefix(1);
    std::int64_t elements = 1;
    while (!rest.empty() && rest[0] != ')') {
      std::int64_t extent = 0;
      const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), extent);
      if (error != std::errc() || extent < 0 ||
          __builtin_mul_overflow(elements, extent, &elements) || elements > std::int64_t{1} << 40) {
        broken("its shape is impossible");
      }
      extents.push_back(extent);
      rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
      while (!rest.empty() && (rest[0] == ',' || rest[0] == ' ')) rest.remove_prefix(1);
    }
    if (extents.size() > static_cast<std::size_t>(Shape::kMaxRank)) broken("it has too many axes");
    return Shape(std::span<const std::int64_t>(extents));
  }

  const std::string& bytes_;
  std::string name_, text_;
};

template <class From, class To, class Of>
Tensor converted_npy(const char* from, const Shape& shape, Of of) {
  Tensor tensor(Type{dtype_of<To>(), shape});
  for (To& value : tensor.values<To>()) {
    From stored;
    std::memcpy(&stored, from, sizeof stored);
    from += sizeof stored;
    value = of(stored);
  }
  return tensor;
}

}  // namespace

Tensor read_npy(const std::filesystem::path& path) {
  const std::string bytes = read_text(path);
  NpyHeaderReader reader(bytes, shown(path.string()));
  const NpyHeader header = reader.read();
  const std::string& type = header.type;
  const std::size_t width = type.size() == 3 && type[2] >= '1' && type[2] <= '8'
                                ? static_cast<std::size_t>(type[2] - '0')
                                : 0;
  const std::size_t elements = static_cast<std::size_t>(header.shape.elements());
  if (width == 0 || type[0] == '>') {
    reader.broken("it is of another dtype than f2, f4, f8, i4, i8, u1 and b1, little-endian");
  }
  if (bytes.size() - header.data != elements * width)
    reader.broken("it is not as long as its shape");
  const char* data = bytes.data() + header.data;
  const auto same = [](auto value) { return value; };
  const auto whole = [](auto value) { return static_cast<std::int64_t>(value); };
  const std::string kind = type.substr(1);
  if (kind == "f4") return converted_npy<float, float>(data, header.shape, same);
  if (kind == "f8") return converted_npy<double, double>(data, header.shape, same);
  if (kind == "i8") return converted_npy<std::int64_t, std::int64_t>(data, header.shape, same);
  if (kind == "f2") return converted_npy<std::uint16_t, float>(data, header.shape, from_half);
  if (kind == "i4") return converted_npy<std::int32_t, std::int64_t>(data, header.shape, whole);
  if (kind == "u1") return converted_npy<std::uint8_t, std::uint8_t>(data, header.shape, same);
  if (kind == "b1") return converted_npy<std::uint8_t, std::int64_t>(data, header.shape, whole);
  reader.broken("it is of another dtype than f2, f4, f8, i4, i8, u1 and b1");
}

}  // namespace tapescope
