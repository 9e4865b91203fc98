// Every option of a training, in one list: the command line, config.toml and --resume walk it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "layers/models/zoo.h"
#include "tools/data/dataset.h"
#include "tools/training/trainer.h"

namespace tapescope {

struct OnnxStart;

struct TrainConfig {
  std::string data, out, task = "auto", model = "auto";
  double width = 1.0;
  std::int64_t image_size = 0;  // 0: the pictures' own size if small, else the model's usual one
  std::int64_t epochs = 10, batch_size = 16;
  std::string loss = "nll";
  double label_smoothing = 0;
  std::string optimizer = "sgd";
  double lr = 0;             // 0: chosen by optimizer, model and batch size
  double weight_decay = -1;  // below 0: 5e-4 for sgd, 0.01 for adamw
  std::string schedule = "one-cycle";
  double clip_gradient = 0;
  std::string augment = "auto";
  std::string precision = "f32", device = "auto";
  std::string backbone, weights, preprocess = "auto", freeze, train_only;
  std::int64_t unfreeze_after = 0;
  double unfreeze_factor = 0.1;
  std::string lr_factors;
  double validation_fraction = 0.1, test_fraction = 0;
  std::int64_t limit = 0;
  std::int64_t keep_checkpoints = 0, checkpoint_every = 0, log_every = 50, statistics_every = 50;
  bool tensorboard = true;
  std::string watch_images, watch_methods = "grad-cam,lrp-epsilon-plus";
  std::uint64_t seed = 0;
  std::int64_t threads = 0, loader_threads = 2;  // 0 threads: all processors
  std::int64_t chunks = 0, ranks = 1;            // 0 chunks: chosen
  double rank_timeout = 300;                     // seconds
  std::string transport = "auto";
  bool fast_all_reduce = false;
  std::string kernel;        // kernel_file.h
  std::string memory_limit;  // see memory_limit_from
  std::string cache = "none", on_bad_image = "fail", exif = "apply";
  bool allow_outside = false;
};

inline constexpr const char* kAllowOutsideHelp =
    "of annotated data: names in its files may lead out of the folder of --data";

// What a training begins with, and which parts of it are learnt.
template <class Config, class Visit>
void for_each_weights_option(Config& c, Visit& visit) {
  visit("backbone", c.backbone,
        "of centre-detector: a model of the zoo in place of its own first layers; --weights gives "
        "its weights");
  visit("weights", c.weights,
        "file to start from: safetensors, or PyTorch's .pt or .pth; `tapescope weights FILE` lists "
        "one");
  visit("preprocess", c.preprocess,
        "size, crop, mean, deviation and interpolation of pictures: auto (as the weights' file "
        "says, else data), data (resized; the data's own mean and deviation), imagenet "
        "(torchvision's for its weights) or transforms as JSON");
  visit("freeze", c.freeze, "glob of parameter names that are not trained, e.g. 'layer1.*'");
  visit("train-only", c.train_only,
        "globs of parameter names, or head (the layers that give the outputs): all else is frozen "
        "and, where no augmentation changes the pictures, computed once");
  visit("unfreeze-after", c.unfreeze_after,
        "epochs after which what --train-only froze is trained too; 0: never");
  visit("unfreeze-factor", c.unfreeze_factor, "the learning rate from then on, in parts of --lr");
  visit("lr-factors", c.lr_factors,
        "GLOB=FACTOR[,...]: learning rates by parameter, in parts of --lr; the last that fits "
        "counts");
}

// Who shares each batch.
template <class Config, class Visit>
void for_each_rank_option(Config& c, Visit& visit) {
  visit("chunks", c.chunks,
        "pieces of a batch for sums over it, a power of two: as many processes, or fewer, make the "
        "same bits; 0: 4, on a GPU as many as there are processes");
  visit(
      "ranks", c.ranks,
      "processes that share each batch: started here, on this machine; mpirun, srun and, on GPUs, "
      "torchrun start theirs and need no --ranks");
  visit("rank-timeout", c.rank_timeout,
        "seconds after which a process that says nothing ends the training");
  visit("transport", c.transport,
        "what processes speak through: auto (as they were started), local, mpi or nccl (a GPU "
        "each, sums without the host)");
  visit(
      "fast-all-reduce", c.fast_all_reduce,
      "with nccl: sums over processes in NCCL's own order; quicker, and no longer the bits of one "
      "process");
}

// What computes.
template <class Config, class Visit>
void for_each_backend_option(Config& c, Visit& visit) {
  visit("precision", c.precision,
        "f32; tf32: a GPU's convolutions and matrix products round what they multiply to tf32; or "
        "bf16: they and what lies between layers in bf16; weights, sums and losses stay f32");
  visit("device", c.device, "auto (a GPU where there is one), cpu, cuda or emulated");
  visit("kernel", c.kernel,
        "FAMILY=VARIANT[,...]: kernels by name, see `tapescope kernels`; measured: each shape's "
        "fastest here, kept in RUN/kernels.json and used by --resume; FILE.json: what another run "
        "measured, for its bits");
}

// What memory may hold.
template <class Config, class Visit>
void for_each_memory_option(Config& c, Visit& visit) {
  visit("memory-limit", c.memory_limit,
        "the most memory that a training may plan, such as 2G or 800M: where a step would take "
        "more, values are computed again rather than kept, without a change of bits; empty: no "
        "limit");
  visit(
      "cache", c.cache,
      "none, memory or disk (a file in --out that goes with the process): where pictures are kept "
      "as they are before what is random, so that each is decoded once; at most half of what is "
      "free there");
}

// Calls visit(name, member, help) for each option, in the order in which help lists them.
template <class Config, class Visit>
void for_each_option(Config& c, Visit&& visit) {
  visit("data", c.data,
        "folder: ImageFolder layout (train/<class>/*, test/<class>/*), IDX files, or shards "
        "(train/*.tar, test/*.tar; also shards/train-{000..099}.tar); for a detector "
        "Pascal VOC, COCO or YOLO (or its data.yaml)");
  visit("out", c.out, "run directory to write");
  visit("task", c.task,
        "auto (seen from the model and the data), classification, detection or multi-label");
  visit("model", c.model,
        "auto (lenet for small grey pictures, else resnet20), an ONNX file of a classifier, or a "
        "model's name");
  visit("width", c.width, "scales the hidden channel counts");
  visit("image-size", c.image_size, "height and width the model sees; 0: chosen");
  visit("epochs", c.epochs, "passes over the training set");
  visit("batch-size", c.batch_size, "images per step");
  visit("loss", c.loss, "nll (cross entropy) or focal");
  visit("label-smoothing", c.label_smoothing, "share of the label spread over all classes");
  visit("optimizer", c.optimizer, "sgd or adamw");
  visit("lr", c.lr, "largest learning rate; 0: chosen");
  visit("weight-decay", c.weight_decay, "on weights, not on biases and norms; below 0: chosen");
  visit("schedule", c.schedule, "constant, step, cosine or one-cycle");
  visit("clip-gradient", c.clip_gradient, "largest global gradient norm; 0: none");
  visit(
      "augment", c.augment,
      "auto, none, flip, shift, crop, crop-flip or resized-crop; for a detector auto, none, flip, "
      "flip-both, mosaic or mosaic-flip-both");
  for_each_backend_option(c, visit);
  for_each_weights_option(c, visit);
  visit("validation-fraction", c.validation_fraction,
        "share of train held out, where there is no val/");
  visit("test-fraction", c.test_fraction, "share set aside for test, for <class>/* without train/");
  visit("limit", c.limit, "train on so many images, drawn from every class alike; 0: all");
  visit("keep-checkpoints", c.keep_checkpoints, "keep epoch-NNN.safetensors of the last N epochs");
  visit("checkpoint-every", c.checkpoint_every, "save every so many steps as well; 0: each epoch");
  visit("log-every", c.log_every, "steps between lines of history.jsonl");
  visit("statistics-every", c.statistics_every,
        "steps between norms of gradients, weights and updates; 0: none");
  visit("tensorboard", c.tensorboard, "write event files under RUN/tensorboard: true or false");
  visit("watch-images", c.watch_images,
        "folder of at most 16 pictures whose explanations are kept while training");
  visit("watch-methods", c.watch_methods, "how they are explained");
  visit("seed", c.seed, "of initial values, shuffling, dropout and augmentation");
  visit("threads", c.threads, "threads of the engine; 0: one per processor");
  visit("loader-threads", c.loader_threads, "threads that prepare batches; 0: none of their own");
  for_each_memory_option(c, visit);
  for_each_rank_option(c, visit);
  visit("on-bad-image", c.on_bad_image, "fail or skip: what a picture that cannot be read does");
  visit("exif", c.exif,
        "apply: pictures are turned as their EXIF orientation says; ignore: read as stored, as "
        "torchvision does");
  visit("allow-outside", c.allow_outside, kAllowOutsideHelp);
}

// Options that change no bit of the result, or only where things are.
bool may_change_on_resume(std::string_view option);

// name -> value as text, in TOML's spelling.
std::map<std::string, std::string> option_values(const TrainConfig& config);
void write_config(const TrainConfig& config, const std::string& path);

// What --precision names.
Precision precision_from_name(const std::string& name);

// Chooses --chunks where that is left to choose. Throws a usage error where so many ranks cannot
// share so many pieces.
void choose_chunks(TrainConfig& config, Device device, int ranks);

// What the trainer is given of the options, once the ones left to choose are chosen.
TrainerOptions trainer_options(const TrainConfig& config, Device device);

// Said where a batch is larger than the training set.
std::string batch_sentence(const TrainConfig& config, std::int64_t pictures);

// Everything `train` needs once the data is known: sizes, pipelines and the trainer's options, with
// what was left to choose filled in.
struct ResolvedTraining {
  ModelConfig model;
  LossConfig loss;
  Pipeline train_pipeline, test_pipeline;
  TrainerOptions trainer;
  std::vector<std::string> notices;  // what was chosen, where one may want another choice
};
// Throws usage errors on values out of range, whatever the data.
void check_options(const TrainConfig& config);
// check_options(), and writes what it chose back into `config`.
// `start`: the file that a new training takes its net from; null for a model of the zoo.
ResolvedTraining resolve(TrainConfig& config, const DataSplits& data,
                         const OnnxStart* start = nullptr);

}  // namespace tapescope
