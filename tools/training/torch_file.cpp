#include "tools/training/torch_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>

#include "engine/error.h"
#include "tools/files/text.h"
#include "tools/training/foreign_format.h"
#include "tools/training/stored_zip.h"
#include "tools/training/torch_tensors.h"

namespace tapescope {
namespace {

using namespace std::string_view_literals;

constexpr std::uint64_t kMostPickle = std::uint64_t{64} << 20;
// torch.save before version 1.6 begins with the pickle of 0x1950a86a20f9469cfc6c.
constexpr std::string_view kOldMagic = "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19.";

// Where the bytes of the storages lie.
class StorageBytes {
 public:
  virtual ~StorageBytes() = default;
  // A number that grows with the place in the file, and the bytes there; a usage error where there
  // is no such storage.
  virtual std::size_t place(const std::string& key) const = 0;
  virtual std::uint64_t bytes(std::size_t place) const = 0;
  virtual void read(std::size_t place, std::span<std::byte> to) = 0;
};

// PREFIX/data.pkl and PREFIX/data/KEY.
class ZippedStorages final : public StorageBytes {
 public:
  ZippedStorages(const std::filesystem::path& path, std::string_view head)
      : zip_(path), shown_(printable(path.string())) {
    for (std::size_t i = 0; i < zip_.parts().size(); ++i) {
      const std::string& name = zip_.parts()[i].name;
      places_.emplace(name, i);
      const std::size_t slash = name.find('/');
      if (slash != std::string::npos && name.substr(slash) == "/data.pkl") {
        prefix_ = name.substr(0, slash);
      }
    }
    if (prefix_.empty()) throw usage_error("{}: {}", shown_, foreign_format(head));
  }

  std::string pickle() {
    if (const auto order = places_.find(prefix_ + "/byteorder"); order != places_.end()) {
      if (text(order->second, 64) == "big") {
        throw usage_error("{}: was written by a big-endian machine; save it again on another one",
                          shown_);
      }
    }
    return text(places_.at(prefix_ + "/data.pkl"), kMostPickle);
  }

  std::size_t place(const std::string& key) const override {
    const auto it = places_.find(prefix_ + "/data/" + key);
    if (it != places_.end()) {
      zip_.expect_stored(it->second);
      return it->second;
    }
    throw usage_error("{}: lacks the storage '{}' that its pickle names; copy the file again",
                      shown_, printable(key.substr(0, 100)));
  }
  std::uint64_t bytes(std::size_t place) const override { return zip_.parts()[place].bytes; }
  void read(std::size_t place, std::span<std::byte> to) override { zip_.read(place, to); }

 private:
  std::string text(std::size_t place, std::uint64_t most) {
    zip_.expect_stored(place);
    const std::uint64_t bytes = zip_.parts()[place].bytes;
    if (bytes > most) {
      throw usage_error("{}: its part '{}' has {} bytes; up to {} are read", shown_,
                        printable(zip_.parts()[place].name.substr(0, 100)), bytes, most);
    }
    std::string text(static_cast<std::size_t>(bytes), '\0');
    zip_.read(place, std::as_writable_bytes(std::span(text)));
    return text;
  }
  StoredZip zip_;
  std::string shown_, prefix_;
  std::map<std::string, std::size_t> places_;
};

// Magic, version, what machine wrote it; the object; the storages' keys; then for each of them its
// number of elements (i64) and the elements.
class StoragesBehind final : public StorageBytes {
 public:
  explicit StoragesBehind(const std::filesystem::path& path)
      : shown_(printable(path.string())), stream_(path, std::ios::binary) {
    size_ = std::filesystem::file_size(path);
    head_.resize(static_cast<std::size_t>(std::min(size_, kMostPickle)));
    read_at(0, std::as_writable_bytes(std::span(head_)));
  }

  // Reads up to where the first storage begins, and returns the object.
  Pickle object() {
    const Pickle magic = next();
    const Pickle version = next();
    const Pickle machine = next();
    if (version[version.root()].integer != 1001) {
      throw usage_error("{}: is of version {} of PyTorch's old format; 1001 is read", shown_,
                        version[version.root()].integer);
    }
    if (const auto* little = machine.find(machine[machine.root()], "little_endian");
        little != nullptr && little->integer == 0) {
      throw usage_error("{}: was written by a big-endian machine; save it again on another one",
                        shown_);
    }
    Pickle object = next();
    const Pickle keys = next();
    std::map<std::string, TorchStorage> known;
    for (TorchStorage& storage : torch_storages(object, shown_)) {
      known.emplace(storage.key, storage);
    }
    std::uint64_t at = used_;
    for (const Pickle::Ref key : keys[keys.root()].items) {
      const auto storage = known.find(keys[key].text);
      if (storage == known.end() || storage->second.element == 0) {
        throw usage_error(
            "{}: has a storage '{}' of unknown kind, behind which nothing can be "
            "found; in Python: torch.save(torch.load(\"{}\"), \"new.pth\")",
            shown_, printable(keys[key].text.substr(0, 100)), shown_);
      }
      std::uint64_t elements = 0;
      read_at(at, std::as_writable_bytes(std::span(&elements, 1)));
      const std::uint64_t bytes = storage->second.elements * storage->second.element;
      at += sizeof elements;
      if (elements != storage->second.elements || bytes > size_ - at) {
        throw usage_error("{}: is cut short or damaged at its storage '{}'; copy it again", shown_,
                          printable(storage->first.substr(0, 100)));
      }
      places_.emplace(storage->first, storages_.size());
      storages_.push_back({at, bytes});
      at += bytes;
    }
    head_ = {};
    return object;
  }

  std::size_t place(const std::string& key) const override {
    const auto it = places_.find(key);
    if (it != places_.end()) return it->second;
    throw usage_error("{}: lacks the storage '{}' that its pickle names; copy the file again",
                      shown_, printable(key.substr(0, 100)));
  }
  std::uint64_t bytes(std::size_t place) const override { return storages_[place].second; }
  void read(std::size_t place, std::span<std::byte> to) override {
    read_at(storages_[place].first, to);
  }

 private:
  Pickle next() {
    Pickle pickle(std::string_view(head_).substr(used_), shown_);
    used_ += pickle.length();
    return pickle;
  }
  void read_at(std::uint64_t at, std::span<std::byte> to) {
    stream_.clear();
    stream_.seekg(static_cast<std::streamoff>(at));
    stream_.read(reinterpret_cast<char*>(to.data()), static_cast<std::streamsize>(to.size()));
    if (static_cast<std::size_t>(stream_.gcount()) != to.size()) {
      throw usage_error("{}: is cut short; copy it again", shown_);
    }
  }
  std::string shown_;
  std::ifstream stream_;
  std::uint64_t size_ = 0;
  std::string head_;  // up to where the storages begin, at most kMostPickle
  std::size_t used_ = 0;
  std::map<std::string, std::size_t> places_;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> storages_;  // begin, bytes
};

// Copies the tensor's elements out of its storage, in row-major order.
void gather(const TorchTensor& tensor, std::span<const std::byte> storage,
            std::span<std::byte> to) {
  const std::size_t size = tensor.element;
  std::vector<std::int64_t> index(tensor.shape.size(), 0);
  std::uint64_t from = tensor.offset;
  for (std::size_t at = 0; at < to.size(); at += size) {
    std::memcpy(to.data() + at, storage.data() + from * size, size);
    for (std::size_t axis = index.size(); axis-- > 0;) {
      from += static_cast<std::uint64_t>(tensor.stride[axis]);
      if (++index[axis] < tensor.shape[axis]) break;
      from -= static_cast<std::uint64_t>(tensor.stride[axis] * tensor.shape[axis]);
      index[axis] = 0;
    }
  }
}

}  // namespace

struct TorchFile::State {
  std::unique_ptr<StorageBytes> storages;
  std::vector<std::pair<std::size_t, TorchTensor>> tensors;  // with their place, as entries_
  std::vector<std::byte> storage;                            // the last one read
  std::size_t held = ~std::size_t{0};
};

bool is_torch_file(std::string_view head) {
  // A safetensors file may begin with the same bytes, the length of its header: `{` follows.
  if (head.size() > 8 && head[8] == '{') return false;
  // An empty archive, too, and pickles of protocol 2 and later.
  return head.starts_with("PK\x03\x04"sv) || head.starts_with("PK\x05\x06"sv) ||
         (head.size() > 1 && head[0] == '\x80' && head[1] >= 2 && head[1] <= 5);
}

TorchFile::TorchFile(std::filesystem::path path)
    : WeightsFile(std::move(path)), state_(std::make_unique<State>()) {
  std::ifstream stream(path_, std::ios::binary);
  std::string head(512, '\0');
  stream.read(head.data(), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<std::size_t>(stream.gcount()));
  TorchTensors found;
  if (head.starts_with("PK")) {
    auto zipped = std::make_unique<ZippedStorages>(path_, head);
    found = torch_tensors(Pickle(zipped->pickle(), shown_), shown_);
    state_->storages = std::move(zipped);
  } else if (head.starts_with(kOldMagic)) {
    auto behind = std::make_unique<StoragesBehind>(path_);
    found = torch_tensors(behind->object(), shown_);
    state_->storages = std::move(behind);
  } else {
    throw usage_error(
        "{}: is a pickle, but not one of torch.save's, which alone are read; in Python, open it "
        "with what wrote it and save the weights with "
        "safetensors.torch.save_file(model.state_dict(), \"model.safetensors\")",
        shown_);
  }
  notices_ = std::move(found.notices);

  std::uint64_t all = 0;
  const std::uint64_t most = 4 * std::filesystem::file_size(path_) + (std::uint64_t{64} << 20);
  for (TorchTensor& tensor : found.tensors) {
    const std::size_t place = state_->storages->place(tensor.storage);
    const std::uint64_t bytes = state_->storages->bytes(place);
    if (tensor.element != 0 && tensor.elements > bytes / tensor.element) {
      throw usage_error(
          "{}: storage '{}' has {} bytes, too few for the {} elements of {} that "
          "\"{}\" counts on; copy the file again",
          shown_, printable(tensor.storage.substr(0, 100)), bytes, tensor.elements, tensor.dtype,
          shown_name(tensor.name));
    }
    all += tensor.count() * std::max<std::size_t>(tensor.element, 1);
    if (all > most) {
      throw usage_error(
          "{}: its tensors claim more than {} bytes in all, of a file of {}: they "
          "are parts of each other; save what is needed alone",
          shown_, most, std::filesystem::file_size(path_));
    }
    state_->tensors.emplace_back(place, std::move(tensor));
  }
  std::sort(state_->tensors.begin(), state_->tensors.end(), [](const auto& a, const auto& b) {
    return std::tie(a.first, a.second.offset, a.second.name) <
           std::tie(b.first, b.second.offset, b.second.name);
  });
  for (const auto& [place, tensor] : state_->tensors) {
    const std::uint64_t begin = tensor.offset * tensor.element;
    entries_.push_back(
        {tensor.name, tensor.dtype, tensor.shape, begin, begin + tensor.count() * tensor.element});
  }
  index_entries();
}

TorchFile::~TorchFile() = default;

void TorchFile::read_bytes(const Entry& entry, std::span<std::byte> to) {
  const auto& [place, tensor] = state_->tensors[static_cast<std::size_t>(&entry - entries_.data())];
  if (state_->held != place) {
    state_->held = ~std::size_t{0};
    state_->storage.resize(static_cast<std::size_t>(state_->storages->bytes(place)));
    state_->storages->read(place, state_->storage);
    state_->held = place;
  }
  gather(tensor, state_->storage, to);
}

}  // namespace tapescope
