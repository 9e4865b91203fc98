// Weights as people have them, and model files that promise what they do not hold.
#include "tools/training/weights.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/allocator.h"
#include "layers/models/zoo.h"
#include "tests/tools/temporary_folder.h"
#include "tools/detection/detector_file.h"
#include "tools/quality/randomisation.h"
#include "tools/tasks/kit.h"
#include "tools/training/checkpoint.h"
#include "tools/training/classifier_file.h"

namespace tapescope {
namespace {

using nlohmann::json;
using Strings = std::vector<std::string>;

void expect_says(const std::string& message, const Strings& parts) {
  for (const std::string& part : parts) EXPECT_NE(message.find(part), std::string::npos) << message;
}

// Small files whose every part a test may change.
struct Stored {
  std::vector<StoredTensor> tensors;
  std::map<std::string, std::string> metadata;
};

const ModelConfig kLenet{"lenet", 3, 1, 12, 0.25, 3};
const ModelConfig kResnet{"resnet20", 3, 3, 16, 0.25, 3};

Stored stored(const ModelConfig& config) {
  const TemporaryFolder folder;
  const ModelInfo info{config, {"a", "b", "c"}, Pipeline({Resize{12, 12, 0}, ToTensor{}})};
  Checkpoints(folder.path(), metadata_of(info), 0).save_initial(*make_model(config));
  Safetensors file = read_safetensors(folder / "checkpoints/initial.safetensors");
  return {std::move(file.tensors), std::move(file.metadata)};
}

std::filesystem::path written(const TemporaryFolder& folder, const Stored& file) {
  write_safetensors(folder / "x.safetensors", file.tensors, file.metadata);
  return folder / "x.safetensors";
}

StoredTensor& tensor_of(Stored& file, const std::string& name) {
  for (StoredTensor& tensor : file.tensors) {
    if (tensor.name == name) return tensor;
  }
  throw std::out_of_range(name);
}

bool same_values(const Module& a, const Module& b) {
  const auto x = a.parameters(), y = b.parameters();
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (std::memcmp(x[i]->value.data(), y[i]->value.data(), x[i]->value.bytes()) != 0) return false;
  }
  return x.size() == y.size();
}

// A safetensors file with one more tensor, of a dtype that write_safetensors does not write.
void put_with_extra(const std::filesystem::path& path, const std::vector<std::uint8_t>& file,
                    const std::string& dtype, const std::string& shape, std::size_t bytes,
                    const std::string& name = "extra.mask") {
  std::uint64_t size = 0;
  std::memcpy(&size, file.data(), 8);
  json header = json::parse(file.begin() + 8, file.begin() + 8 + static_cast<std::ptrdiff_t>(size));
  const std::size_t data = file.size() - 8 - size;
  header[name] = {
      {"dtype", dtype}, {"shape", json::parse(shape)}, {"data_offsets", {data, data + bytes}}};
  const std::string text = header.dump();
  std::string out(8, '\0');
  const std::uint64_t length = text.size();
  std::memcpy(out.data(), &length, 8);
  out += text;
  out.append(file.begin() + 8 + static_cast<std::ptrdiff_t>(size), file.end());
  put(path, out + std::string(bytes, '\1'));
}

TEST(ModelFile, MetadataBeyondTheLimitsAreRefusedByName) {
  const TemporaryFolder folder;
  const Stored good = stored(kLenet);
  EXPECT_NO_THROW(load_model("", written(folder, good)));
  const auto refused = [&](const std::string& key, const json& value, const Strings& says) {
    Stored bad = good;
    json model = json::parse(bad.metadata["tapescope.model"]);
    model[key] = value;
    bad.metadata["tapescope.model"] = model.dump();
    const auto path = written(folder, bad);
    Strings parts = says;
    parts.push_back("x.safetensors");
    expect_says(usage_message([&] { load_model("", path); }), parts);
  };
  refused("width", 200, {"width is 200", "at most 16"});
  refused("width", 1e6, {"width", "at most 16"});
  refused("width", 0, {"width is 0"});
  refused("width", -1, {"width is -1"});
  refused("width", "1", {"width is \"1\""});
  refused("width", true, {"width is true"});
  refused("image_size", std::int64_t{1} << 40, {"image_size is 1099511627776", "4096"});
  refused("image_size", (std::uint64_t{1} << 61) + 1, {"image_size", "4096"});
  refused("image_size", 18446744073709551615ull, {"image_size", "4096"});
  refused("image_size", 1e300, {"image_size is 1e+300"});
  refused("image_size", 12.5, {"image_size is 12.5"});
  refused("image_size", -12, {"image_size is -12"});
  refused("image_size", 3, {"image_size is 3"});
  refused("image_size", nullptr, {"image_size is null"});
  refused("channels", 0, {"channels is 0"});
  refused("channels", 1000000, {"channels is 1000000"});
  refused("classes", json::array({"a"}), {"classes is", "2 to 100000"});
  refused("classes", Strings(100'001, "a"), {"classes is", "2 to 100000"});
  refused("classes", json::array({1, 2, 3}), {"classes is [1,2,3]"});
  refused("classes", "abc", {"classes is"});
  refused("name", "alexnet", {"unknown model 'alexnet'", "resnet18"});
  refused("name", 7, {"name is 7"});
  refused("loss", 7, {"loss is 7"});
  refused("loss", "l2", {"loss is l2", "focal"});
  refused("validation_fraction", 1e300, {"validation_fraction"});
  refused("test_fraction", -1, {"test_fraction is -1"});
  refused("seed", -1, {"seed is -1"});
  for (const char* text : {"", "[]", "{", "{\"name\":\"lenet\"}", "null", "\xff"}) {
    Stored bad = good;
    if (text[0] == '\xff') continue;  // no metadata can hold it
    bad.metadata["tapescope.model"] = text;
    const auto path = written(folder, bad);
    expect_says(usage_message([&] { load_model("", path); }), {"damaged metadata"});
  }
  for (const char* text : {"", "{}", "[{\"type\":\"ToTensor\"},{\"type\":\"Normalize\"}]",
                           "[{\"type\":\"Resize\",\"size\":4294967328},{\"type\":\"ToTensor\"}]",
                           "[{\"type\":\"Resize\",\"size\":[1e300,2]},{\"type\":\"ToTensor\"}]"}) {
    Stored bad = good;
    bad.metadata["tapescope.pipeline"] = text;
    const auto path = written(folder, bad);
    expect_says(usage_message([&] { load_model("", path); }),
                {"x.safetensors", "damaged metadata"});
  }
}

// An error shows the value that is wrong, which would overflow the stack.
TEST(ModelFile, MetadataOfBracketsAloneAreRefused) {
  const TemporaryFolder folder;
  const Stored good = stored(kLenet);
  const std::string deep = std::string(300'000, '[') + std::string(300'000, ']');
  for (const auto& [key, text] :
       {std::pair<std::string, std::string>{"tapescope.model", R"({"name": )" + deep + "}"},
        {"tapescope.pipeline", R"([{"type": "Resize", "size": )" + deep + "}]"}}) {
    Stored bad = good;
    bad.metadata[key] = text;
    const auto path = written(folder, bad);
    expect_says(usage_message([&] { load_model("", path); }),
                {"x.safetensors", "damaged metadata", "more than 100 levels"});
  }
}

// Within the limits, and still far more than the file holds: nothing large may be made.
// Files of before say no format; those of a later version may mean other things by the same names.
TEST(ModelFile, OfANewerFormatIsRefusedByName) {
  const TemporaryFolder folder;
  Stored file = stored(kLenet);
  EXPECT_EQ(file.metadata.at("tapescope.format"), "1");
  file.metadata.erase("tapescope.format");
  EXPECT_NO_THROW(load_model("", written(folder, file)));
  file.metadata["tapescope.format"] = "2";
  const std::string path = written(folder, file).string();
  expect_says(usage_message([&] { load_model("", path); }), {path, "format 2", "newer version"});
  expect_says(usage_message([&] { tasks::open_run({.run = "", .checkpoint = path}); }),
              {"format 2"});
}

// What keeps a file's model from growing is not handed on: its random copies are drawn.
TEST(ModelFile, RandomCopiesOfItsModelHaveValues) {
  const TemporaryFolder folder;
  const LoadedModel loaded = load_model("", written(folder, stored(kLenet)));
  const auto copy = quality::randomised(*loaded.model, 9);
  for (const ParameterRef& parameter : copy->parameters()) {
    if (!parameter->name.ends_with("weight")) continue;
    const auto values = parameter->value.values<float>();
    EXPECT_TRUE(std::any_of(values.begin(), values.end(), [](float v) { return v != 0; }))
        << parameter->name;
  }
}

TEST(ModelFile, NamesItsTask) {
  const TemporaryFolder folder;
  Stored file = stored(kLenet);
  const auto kit_of = [&] {
    const std::string path = written(folder, file).string();
    return std::string(tasks::open_run({.run = "", .checkpoint = path})->kit().name());
  };
  EXPECT_EQ(kit_of(), "classification");  // of before, which named none
  file.metadata["tapescope.task"] = "multi-label";
  EXPECT_EQ(kit_of(), "multi-label");
  file.metadata["tapescope.task"] = "poetry";
  expect_says(usage_message(kit_of), {"'poetry'", "does not know"});
}

TEST(ModelFile, AModelMuchLargerThanItsFileIsNotBuilt) {
  const TemporaryFolder folder;
  Allocator& memory = Allocator::of(Device::cpu());
  const auto refused = [&](const char* name, std::int64_t image_size, double width) {
    Stored bad = stored(kLenet);
    json model = json::parse(bad.metadata["tapescope.model"]);
    model["name"] = name;
    model["image_size"] = image_size;
    model["width"] = width;
    bad.metadata["tapescope.model"] = model.dump();
    const auto path = written(folder, bad);
    const std::size_t before = memory.use().live;
    memory.reset_peak();
    expect_says(usage_message([&] { load_model("", path); }),
                {"x.safetensors", name, "far more parameters"});
    EXPECT_LT(memory.use().peak, before + (std::size_t{32} << 20)) << name;
  };
  refused("resnet18", 32, 16);
  refused("lenet", 4096, 16);
  refused("mlp", 4096, 16);
  refused("seednet", 32, 16);
  refused("resnet20", 32, 16);
}

TEST(ModelFile, ADetectorsMetadataAreHeldToLimitsToo) {
  const TemporaryFolder folder;
  const detection::DetectorConfig config{{"cell", "dot"}, 32, 48, 0.25, 1};
  Checkpoints(folder.path(), detection::metadata_of(config), 0)
      .save_initial(detection::CentreDetector(config));
  Safetensors file = read_safetensors(folder / "checkpoints/initial.safetensors");
  const Stored good{file.tensors, file.metadata};
  EXPECT_NO_THROW(detection::load_detector("", written(folder, good)));
  EXPECT_EQ(detection::read_detector_config("", written(folder, good)).classes, config.classes);
  const auto refused = [&](const std::string& key, const json& value, const std::string& says) {
    Stored bad = good;
    json model = json::parse(bad.metadata["tapescope.detector"]);
    model[key] = value;
    bad.metadata["tapescope.detector"] = model.dump();
    const auto path = written(folder, bad);
    expect_says(usage_message([&] { detection::load_detector("", path); }),
                {"x.safetensors", says});
  };
  refused("height", std::int64_t{1} << 40, "height is 1099511627776");
  refused("width", 4112, "width is 4112");
  refused("width", 40, "multiples of 16");
  refused("channel_scale", 200, "channel_scale is 200");
  refused("channel_scale", 16, "far more parameters");
  refused("classes", json::array(), "classes is []");
  refused("seed", 0.5, "seed is 0.5");
}

TEST(ModelFile, NotANumberIsNamedAndRefusedUnlessAllowed) {
  const TemporaryFolder folder;
  for (const float value : {std::nanf(""), INFINITY, -INFINITY}) {
    Stored bad = stored(kLenet);
    Tensor& weight = tensor_of(bad, "conv2.weight").tensor;  // {12, 6, 5, 5}
    weight.values<float>()[2 * 150 + 3 * 25 + 4 * 5 + 1] = value;
    weight.values<float>()[1799] = value;
    const auto path = written(folder, bad);
    expect_says(usage_message([&] { load_model("", path); }),
                {"x.safetensors", "'conv2.weight' has 2 of 1800 values", "[2, 3, 4, 1]",
                 "--allow-non-finite"});
    Strings notices;
    const LoadedModel loaded = load_model("", path, {true, &notices});
    ASSERT_EQ(notices.size(), 1u);
    expect_says(notices[0], {"'conv2.weight' has 2 of 1800 values", "[2, 3, 4, 1]"});
    EXPECT_FALSE(std::isfinite(loaded.model->parameters()[2]->value.item(1799)));
    const auto fresh = make_model(kLenet);
    expect_says(usage_message([&] { load_weights(*fresh, path); }), {"--weights", "conv2.weight"});
  }
  // Too large for f32.
  Stored wide = stored(kLenet);
  Tensor& bias = tensor_of(wide, "fc2.bias").tensor;
  bias = Tensor::from<double>({3}, {0, 1e300, 0});
  const auto path = written(folder, wide);
  expect_says(usage_message([&] { load_model("", path); }), {"'fc2.bias' has 1 of 3", "[1]"});
  tensor_of(wide, "fc1.bias").tensor.values<float>()[0] = INFINITY;
  written(folder, wide);
  expect_says(usage_message([&] { load_model("", path); }), {"1 more"});
}

TEST(Weights, SharedPrefixesAreLeftOut) {
  const TemporaryFolder folder;
  const auto source = make_model(kResnet);
  const Stored good = stored(kResnet);
  for (const char* prefix : {"module.", "_orig_mod.", "model.", "state_dict.", "net.", "backbone.",
                             "module._orig_mod.", "a.b.c."}) {
    Stored bad = good;
    for (StoredTensor& tensor : bad.tensors) tensor.name = prefix + tensor.name;
    const auto path = written(folder, bad);
    ModelConfig other = kResnet;
    other.seed = 9;
    const auto target = make_model(other);
    EXPECT_FALSE(same_values(*source, *target));
    const Strings sentences = load_weights(*target, path);
    EXPECT_TRUE(same_values(*source, *target)) << prefix;
    expect_says(sentences.at(0), {"prefix '" + std::string(prefix) + "'"});
    Strings notices;
    EXPECT_TRUE(same_values(*source, *load_model("", path, {false, &notices}).model));
    ASSERT_EQ(notices.size(), 1u);
    expect_says(notices[0], {prefix});
  }
  // All but the head.
  Stored bad = good;
  for (StoredTensor& tensor : bad.tensors) {
    if (!tensor.name.starts_with("fc.")) tensor.name = "backbone." + tensor.name;
  }
  EXPECT_TRUE(same_values(*source, *load_model("", written(folder, bad)).model));
  // Two networks in one file: which is meant?
  Stored both = good;
  for (const StoredTensor& tensor : good.tensors) {
    both.tensors.push_back({"teacher." + tensor.name, tensor.tensor});
  }
  EXPECT_TRUE(same_values(*source, *load_model("", written(folder, both)).model))
      << "its own names";
  for (StoredTensor& tensor : both.tensors) {
    if (!tensor.name.starts_with("teacher.")) tensor.name = "student." + tensor.name;
  }
  const auto path = written(folder, both);
  expect_says(usage_message([&] { load_model("", path); }), {"'student.'", "'teacher.'"});
}

// Names alone do not make a model: blocks of a transformer have an fc1 and an fc2 as well.
TEST(Weights, BlocksOfAnotherModelAreNoPrefix) {
  const TemporaryFolder folder;
  Stored file;
  for (int block = 0; block < 3; ++block) {
    for (const char* name : {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}) {
      file.tensors.push_back({fmt::format("blocks.{}.mlp.{}", block, name), Tensor::scalar(1)});
    }
  }
  const auto path = written(folder, file);
  const auto model = make_model({"mlp", 2, 1, 12, 0.1, 0});
  expect_says(usage_message([&] { load_weights(*model, path); }), {"fits nothing", "blocks.0.mlp"});
}

TEST(Weights, TensorsThatAreNotTheModelsArePassedOverWhateverTheirType) {
  const TemporaryFolder folder;
  const auto source = make_model(kResnet);
  const auto bytes = get(written(folder, stored(kResnet)));
  struct Extra {
    const char *dtype, *shape;
    std::size_t bytes;
  };
  for (const Extra& extra :
       {Extra{"BOOL", "[5]", 5}, Extra{"F8_E4M3", "[3]", 3}, Extra{"F8_E5M2", "[3]", 3},
        Extra{"U16", "[3]", 6}, Extra{"I8", "[3]", 3}, Extra{"I16", "[]", 2},
        Extra{"U32", "[1]", 4}, Extra{"U64", "[1]", 8}, Extra{"C64", "[1]", 8},
        Extra{"F4", "[3]", 2}, Extra{"FUTURE", "[3]", 17}, Extra{"F32", "[1,1,1,1,1,1,1,2]", 8}}) {
    put_with_extra(folder / "y.safetensors", bytes, extra.dtype, extra.shape, extra.bytes);
    Strings notices;
    EXPECT_TRUE(
        same_values(*source, *load_model("", folder / "y.safetensors", {false, &notices}).model))
        << extra.dtype;
    ASSERT_EQ(notices.size(), 1u);
    expect_says(notices[0], {"1 tensor that", "extra.mask"});
    ModelConfig other = kResnet;
    other.seed = 9;
    const auto target = make_model(other);
    load_weights(*target, folder / "y.safetensors");
    EXPECT_TRUE(same_values(*source, *target)) << extra.dtype;
    EXPECT_THROW(read_safetensors(folder / "y.safetensors"), Error);
  }
  // One that is needed.
  Stored lacks = stored(kLenet);
  std::erase_if(lacks.tensors, [](const StoredTensor& t) { return t.name == "fc2.bias"; });
  put_with_extra(folder / "y.safetensors", get(written(folder, lacks)), "F8_E4M3", "[3]", 3,
                 "fc2.bias");
  expect_says(usage_message([&] { load_model("", folder / "y.safetensors"); }),
              {"fc2.bias", "F8_E4M3", "are read"});
}

TEST(Weights, CountersMayBeMissingAndNothingElse) {
  const TemporaryFolder folder;
  const auto source = make_model(kResnet);
  Stored file = stored(kResnet);
  std::erase_if(file.tensors,
                [](const StoredTensor& t) { return t.name.ends_with("num_batches_tracked"); });
  Strings notices;
  EXPECT_TRUE(
      same_values(*source, *load_model("", written(folder, file), {false, &notices}).model));
  ASSERT_EQ(notices.size(), 1u);
  expect_says(notices[0], {"21 counters"});
  std::erase_if(file.tensors, [](const StoredTensor& t) { return t.name == "bn1.running_mean"; });
  const auto path = written(folder, file);
  expect_says(usage_message([&] { load_model("", path); }), {"missing bn1.running_mean"});
}

TEST(Weights, ListsOfNamesAreBoundedAndPrintable) {
  const TemporaryFolder folder;
  Stored file = stored(kLenet);
  for (int i = 0; i < 500; ++i) {
    file.tensors.push_back(
        {fmt::format("\x1b[31m{:05}{}", i, std::string(4000, 'x')), Tensor::scalar(1)});
  }
  std::erase_if(file.tensors, [](const StoredTensor& t) { return t.name == "fc2.bias"; });
  const auto path = written(folder, file);
  const std::string message = usage_message([&] { load_model("", path); });
  expect_says(message, {"missing fc2.bias", "\\x1b[31m00000", "492 more"});
  EXPECT_LT(message.size(), 2000u);
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
}

TEST(Weights, OtherFormatsAreNamedWithTheRemedy) {
  const TemporaryFolder folder;
  const auto zip = [](const std::string& name) {
    std::string head("PK\x03\x04", 4);
    head += std::string(22, '\0') + std::string(1, static_cast<char>(name.size())) +
            std::string(3, '\0');
    return head + name + std::string(400, 'x');
  };
  const std::string save = "safetensors.torch.save_file(model.state_dict()";
  const std::string train = "train --weights";  // which reads it
  const std::vector<std::tuple<std::string, std::string, std::string>> cases = {
      {zip("archive/data.pkl"), "PyTorch", train},
      {zip("resnet/data.pkl"), "PyTorch", train},
      {zip("net/version"), "PyTorch", train},
      {zip("arr_0.npy"), "NumPy", "save_file"},
      {zip("readme.txt"), "zip archive", "unpack"},
      {std::string("\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20j\xa8P\x19.", 15), "PyTorch", train},
      {"\x80\x04\x95" + std::string(50, 'q'), "PyTorch", train},
      {"\x93NUMPY" + std::string(90, ' '), "NumPy", "save_file"},
      {"\x89HDF\r\n\x1a\n" + std::string(90, '\1'), "HDF5", "state_dict"},
      {"\x08\x07\x12\x07pytorch" + std::string(90, '\1'), "ONNX", save},
      {"GGUF" + std::string(90, '\1'), "GGUF", "safetensors"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 46827520\n", "git-lfs",
       "git lfs pull"},
      {"<!DOCTYPE html>\n<html lang=\"en\">", "web page", "download"},
      {"\n\n  <HTML><head>", "web page", "download"},
      {"\xef\xbb\xbf<html>", "web page", "download"},
      {"{\"error\": \"Repository not found\"}", "JSON", "weights"},
      {std::string("\x1f\x8b\x08\0\0\0\0\0\0\3", 10) + std::string(90, 'z'), "packed", "unpack"},
      {"", "empty", "again"}};
  for (const auto& [bytes, format, remedy] : cases) {
    put(folder / "weights.pth", bytes);
    const auto model = make_model(kLenet);
    expect_says(usage_message([&] { load_model("", folder / "weights.pth"); }),
                {"weights.pth", format, remedy});
    // These are no whole ones (torch_file_test.cpp has such).
    const std::string message =
        usage_message([&] { load_weights(*model, folder / "weights.pth"); });
    expect_says(message, {"weights.pth"});
    if (remedy != train && !bytes.starts_with("PK")) expect_says(message, {format, remedy});
  }
}

TEST(Weights, SharedCases) {
  const std::filesystem::path weights = shared_case("files/17_weights");
  const std::filesystem::path faults = shared_case("faults");
  if (weights.empty() || faults.empty()) GTEST_SKIP() << "no shared cases";
  const auto extra = make_model({"resnet20", 2, 3, 32, 0.25, 0});
  const auto prefixed = make_model({"resnet20", 2, 3, 32, 0.25, 1});
  const Strings of_extra = load_weights(*extra, weights / "extra_bool_resnet20_w025.safetensors");
  const Strings of_prefixed =
      load_weights(*prefixed, weights / "module_prefix_resnet20_w025.safetensors");
  expect_says(of_extra.back(), {"extra.mask"});
  expect_says(of_prefixed.at(0), {"module."});
  EXPECT_TRUE(same_values(*extra, *prefixed)) << "one network, written twice";
  const auto from_torch = make_model({"resnet20", 2, 3, 32, 0.25, 2});
  load_weights(*from_torch, weights / "resnet20_w025.pth");
  EXPECT_TRUE(same_values(*extra, *from_torch));
  const auto refused = [&](const std::string& name, const Strings& says) {
    expect_says(usage_message([&] { load_model("", faults / (name + ".safetensors")); }), says);
  };
  refused("meta-image_size_1099511627776", {"image_size is 1099511627776", "4096"});
  refused("meta-name_resnet18-width_30", {"width is 30", "16"});
  refused("meta-width_200", {"width is 200", "16"});
  refused("overflow-2p40", {"image_size is 1099511627776", "4096"});
  refused("one-nan", {"has 1 of", "NaN"});
}

}  // namespace
}  // namespace tapescope
