#include "tools/training/safetensors.h"

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/error.h"
#include "tools/files/atomic_file.h"
#include "tools/files/text.h"
#include "tools/training/foreign_format.h"

namespace tapescope {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

constexpr std::uint64_t kMostHeader = 100'000'000;  // the reference implementation's limit
constexpr const char* kMetadata = "__metadata__";

using Entry = SafetensorsFile::Entry;

// Parses the header, noticing keys that appear twice (a JSON library keeps the last in silence).
json parse_header(const std::string& text, const std::string& file) {
  std::set<std::string> seen;
  std::set<std::string> seen_in_metadata;
  std::string twice;
  std::string top_key;
  const auto notice = [&](int depth, json::parse_event_t event, json& value) {
    if (depth > 4) throw usage_error("{}: its header is nested too deep to be a header", file);
    if (event == json::parse_event_t::key) {
      const auto key = value.get<std::string>();
      if (depth == 1) top_key = key;
      const bool first = depth == 1                           ? seen.insert(key).second
                         : depth == 2 && top_key == kMetadata ? seen_in_metadata.insert(key).second
                                                              : true;
      if (!first) twice = shown_name(key);
    }
    return true;
  };
  json header;
  try {
    header = json::parse(text, notice);
  } catch (const json::exception& error) {
    throw usage_error("{}: its header is not JSON ({}); the file is corrupt or no safetensors file",
                      file, printable(std::string(error.what()).substr(0, 300)));
  }
  if (!header.is_object()) throw usage_error("{}: its header is not a JSON object", file);
  if (!twice.empty()) throw usage_error("{}: its header names \"{}\" twice", file, twice);
  return header;
}

std::uint64_t whole_number(const json& value, const std::string& file, const std::string& name,
                           const char* what) {
  if (!value.is_number_unsigned()) {
    throw usage_error("{}: tensor \"{}\" has {} that are not whole numbers from 0: {}", file,
                      shown_name(name), what,
                      shown_name(value.dump(-1, ' ', false, json::error_handler_t::replace)));
  }
  return value.get<std::uint64_t>();
}

Entry parse_entry(const std::string& name, const json& value, const std::string& file) {
  if (!value.is_object() || !value.contains("dtype") || !value.contains("shape") ||
      !value.contains("data_offsets") || !value["dtype"].is_string() ||
      !value["shape"].is_array() || !value["data_offsets"].is_array() ||
      value["data_offsets"].size() != 2) {
    throw usage_error("{}: tensor \"{}\" lacks a proper dtype, shape or pair of data_offsets", file,
                      shown_name(name));
  }
  if (constexpr std::size_t kMostAxes = 64; value["shape"].size() > kMostAxes) {
    throw usage_error("{}: tensor \"{}\" has {} axes; up to {} are possible", file,
                      shown_name(name), value["shape"].size(), kMostAxes);
  }
  Entry entry{name, value["dtype"].get<std::string>(), {}, 0, 0};
  // The product with extents of 0 taken as 1: no part of it overflows either.
  std::uint64_t product = 1, elements = 1;
  constexpr std::uint64_t kMost = std::uint64_t{1} << 48;
  for (const json& item : value["shape"]) {
    const std::uint64_t extent = whole_number(item, file, name, "extents");
    if (extent > kMost || product > kMost / std::max<std::uint64_t>(extent, 1)) {
      throw usage_error("{}: tensor \"{}\" has an impossible shape {}", file, shown_name(name),
                        value["shape"].dump());
    }
    product *= std::max<std::uint64_t>(extent, 1);
    elements *= extent;
    entry.shape.push_back(static_cast<std::int64_t>(extent));
  }
  entry.begin = whole_number(value["data_offsets"][0], file, name, "data_offsets");
  entry.end = whole_number(value["data_offsets"][1], file, name, "data_offsets");
  const FileType* type = file_type(entry.dtype);
  const std::uint64_t needed = type != nullptr ? elements * type->bytes : entry.end - entry.begin;
  if (entry.end < entry.begin || entry.end - entry.begin != needed) {
    throw usage_error(
        "{}: tensor \"{}\" of {} {} needs {} bytes, but its data_offsets are {} to {}", file,
        shown_name(name), shown_name(entry.dtype), value["shape"].dump(), needed, entry.begin,
        entry.end);
  }
  return entry;
}

void read_exactly(std::ifstream& stream, void* to, std::size_t bytes, const std::string& file) {
  stream.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes));
  if (static_cast<std::size_t>(stream.gcount()) != bytes) {
    throw usage_error("{}: ended while it was read; is something else writing it?", file);
  }
}

}  // namespace

const Tensor* Safetensors::find(const std::string& name) const {
  for (const StoredTensor& named : tensors) {
    if (named.name == name) return &named.tensor;
  }
  return nullptr;
}

SafetensorsFile::SafetensorsFile(std::filesystem::path path) : WeightsFile(std::move(path)) {
  stream_.open(path_, std::ios::binary);
  stream_.seekg(0, std::ios::end);
  const auto size = static_cast<std::int64_t>(stream_.tellg());
  stream_.seekg(0);
  if (!stream_ || size < 0) throw usage_error("{}: cannot be read; check its permissions", shown_);
  std::string head(static_cast<std::size_t>(std::min<std::int64_t>(size, 512)), '\0');
  read_exactly(stream_, head.data(), head.size(), shown_);
  // A header is an object: what has none is known by its first bytes.
  if (head.size() < 9 || head[8] != '{') {
    if (const std::string what = foreign_format(head); !what.empty()) {
      throw usage_error("{}: {}", shown_, what);
    }
  }
  if (size < 8) {
    throw usage_error("{}: is {} bytes long, too short for a safetensors file; copy it again",
                      shown_, size);
  }
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, head.data(), 8);
  if (header_bytes > kMostHeader) {
    throw usage_error("{}: claims a header of {} bytes; this is no safetensors file", shown_,
                      header_bytes);
  }
  if (header_bytes > static_cast<std::uint64_t>(size) - 8) {
    throw usage_error(
        "{}: is cut short: its header needs {} bytes of the {} that the file has; copy "
        "it again",
        shown_, header_bytes, size - 8);
  }
  data_ = 8 + header_bytes;
  read_entries(static_cast<std::uint64_t>(size) - data_);
}

void SafetensorsFile::read_entries(std::uint64_t available) {
  std::string text(static_cast<std::size_t>(data_ - 8), '\0');
  stream_.seekg(8);
  read_exactly(stream_, text.data(), text.size(), shown_);
  const json header = parse_header(text, shown_);
  for (const auto& [name, value] : header.items()) {
    if (name != kMetadata) {
      entries_.push_back(parse_entry(name, value, shown_));
      continue;
    }
    if (!value.is_object()) throw usage_error("{}: its __metadata__ is not a JSON object", shown_);
    for (const auto& [key, item] : value.items()) {
      if (!item.is_string()) {
        throw usage_error("{}: its __metadata__ \"{}\" is not a string", shown_, shown_name(key));
      }
      metadata_[key] = item.get<std::string>();
    }
  }
  std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  std::uint64_t at = 0;
  for (const Entry& entry : entries_) {
    if (entry.begin != at) {
      throw usage_error(
          "{}: tensor \"{}\" begins at byte {} of the data, and {}", shown_, shown_name(entry.name),
          entry.begin, entry.begin < at ? "overlaps the one before it" : "leaves a hole before it");
    }
    at = entry.end;
  }
  if (at != available) {
    throw usage_error("{}: {}: its header describes {} bytes of data but {} follow; copy it again",
                      shown_, at > available ? "is cut short" : "is too long", at, available);
  }
  index_entries();
}

std::uint64_t SafetensorsFile::data_bytes() const {
  return entries_.empty() ? 0 : entries_.back().end;
}

void SafetensorsFile::read_bytes(const Entry& entry, std::span<std::byte> to) {
  stream_.seekg(static_cast<std::streamoff>(data_ + entry.begin));
  read_exactly(stream_, to.data(), to.size(), shown_);
}

Safetensors read_safetensors(const std::filesystem::path& path) {
  SafetensorsFile file(path);
  Safetensors result{{}, file.metadata()};
  for (const Entry& entry : file.entries()) {
    result.tensors.push_back({entry.name, file.read(entry)});
  }
  return result;
}

void write_safetensors(const std::filesystem::path& path, const std::vector<StoredTensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<const StoredTensor*> sorted;
  std::set<std::string> names;
  for (const StoredTensor& named : tensors) {
    if (named.name == kMetadata || !names.insert(named.name).second) {
      throw usage_error("{}: two tensors cannot be called \"{}\"; rename one", path.string(),
                        named.name);
    }
    if (!named.tensor.defined() || named.tensor.device().kind != DeviceKind::cpu) {
      throw usage_error("{}: tensor \"{}\" is not in host memory; copy it there first",
                        path.string(), named.name);
    }
    sorted.push_back(&named);
  }
  std::sort(sorted.begin(), sorted.end(), [](const StoredTensor* a, const StoredTensor* b) {
    const std::size_t a_size = size_of(a->tensor.dtype());
    const std::size_t b_size = size_of(b->tensor.dtype());
    return a_size != b_size ? a_size > b_size : a->name < b->name;
  });
  std::string header;
  try {
    nlohmann::ordered_json object = nlohmann::ordered_json::object();
    if (!metadata.empty()) object[kMetadata] = metadata;
    std::uint64_t at = 0;
    for (const StoredTensor* named : sorted) {
      const Shape& shape = named->tensor.shape();
      const std::uint64_t end = at + named->tensor.bytes();
      object[named->name] = {{"dtype", file_name_of(named->tensor.dtype())},
                             {"shape", std::vector<std::int64_t>(shape.begin(), shape.end())},
                             {"data_offsets", {at, end}}};
      at = end;
    }
    header = object.dump();
  } catch (const json::exception& error) {
    throw usage_error("{}: a name or metadata entry is not valid UTF-8 ({}); rename it",
                      path.string(), error.what());
  }
  header.resize((header.size() + 7) / 8 * 8, ' ');  // keeps the data aligned
  const std::uint64_t header_bytes = header.size();
  std::vector<std::span<const std::byte>> parts;
  parts.push_back(std::as_bytes(std::span(&header_bytes, 1)));
  parts.push_back(std::as_bytes(std::span(header)));
  for (const StoredTensor* named : sorted) {
    parts.emplace_back(static_cast<const std::byte*>(named->tensor.data()), named->tensor.bytes());
  }
  write_atomically(path, parts);
}

}  // namespace tapescope
