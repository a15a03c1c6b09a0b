"""The training commands of `paranasal`, one line each. Nothing heavy is imported before one runs."""

from __future__ import annotations

from ParanasalSSLLib.cli.command import Command


def _command(
    name: str,
    help: str,
    subject: str,
    config: str,
    run: str,
    positional: str = "",
    output: bool = False,
) -> Command:
    """A command of this package. config: "module:class", run: "module:function" below it."""
    paths = f"{__package__}.{config}", f"{__package__}.{run}"
    return Command(name, help, subject, *paths, positional, extra="training", output=output)


COMMANDS = (
    _command("prepare", "scans of a site (BIDS folder or table) -> crop store", "Crops", "prepare.config:PrepareConfig", "prepare.site:prepare", "scans", output=True),
    _command("simulate", "simulated cohort -> crop store", "Crops", "cohort.config:SimulateConfig", "cohort.simulate:simulate", output=True),
    _command("simulate-head", "one simulated whole head -> NIfTI", "Crops", "cohort.config:HeadConfig", "cohort.heads:simulate_head", output=True),
    _command("sheet", "picture sheet of a crop store", "Crops", "cohort.config:SheetConfig", "cohort.sheet:draw_sheet", output=True),
    _command("split", "patients -> test set and folds", "Crops", "data.config:SplitConfig", "data.splits:make_splits"),
    _command("train", "stage 1: autoencoder of healthy sinuses", "Training, in this order", "stages.config:TrainConfig", "stages.cae:train_cae"),
    _command("residuals", "stage 2: residuals of a crop store", "Training, in this order", "stages.config:ResidualsConfig", "stages.residuals:make_residuals"),
    _command("residual-files", "residuals of a store as images for 3D Slicer", "Training, in this order", "data.config:ResidualFilesConfig", "data.residual_files:write_residual_files"),
    _command("pretrain", "stage 3: self-supervised pretraining, any method", "Training, in this order", "stages.config:PretrainConfig", "stages.pretrain:pretrain"),
    _command("finetune", "stage 4: classifier from labels", "Training, in this order", "stages.config:FinetuneConfig", "stages.finetune:finetune"),
    _command("paint-sinuses", "real heads with painted disease -> store of samples", "Sinus network", "sinus.config:PaintSinusesConfig", "sinus.shards:paint_sinuses", output=True),
    _command("sinus-crops", "those samples -> crop store, for self-supervision", "Sinus network", "sinus.config:SinusCropsConfig", "sinus.plain_crops:write_sinus_crops", output=True),
    _command("train-sinus", "network of a sinus's cavity and what fills it", "Sinus network", "sinus.config:TrainSinusConfig", "sinus.training:train_sinus"),
    _command("look-at-sinuses", "what that network says of real scans", "Sinus network", "sinus.config:LookAtSinusesConfig", "sinus.evaluation:look_at_sinuses", "scans"),
    _command("repeat-sinuses", "how repeatable a bundle's numbers are", "Sinus network", "sinus.config:RepeatabilityConfig", "sinus.repeatability:measure_repeatability", "scans"),
    _command("adapt", "unlabelled scans of a site + bundle -> bundle for that site", "Sinus network", "adapt.config:AdaptConfig", "adapt.adapt:adapt", "scans", output=True),
    _command("evaluate", "metrics of a classifier on the test split", "Evaluation", "evaluation.config:EvaluateConfig", "evaluation.classifier:evaluate"),
    _command("evaluate-frozen", "linear probe or nearest neighbours of an encoder", "Evaluation", "stages.config:EvaluateFrozenConfig", "evaluation.frozen:evaluate_frozen"),
    _command("evaluate-residuals", "the autoencoder's mean residual alone as a score", "Evaluation", "stages.config:EvaluateResidualsConfig", "evaluation.residual_score:evaluate_residuals"),
    _command("evaluate-maps", "residuals against simulated lesions", "Evaluation", "evaluation.config:EvaluateMapsConfig", "evaluation.maps:evaluate_maps"),
    _command("check-real", "a bundle against real scans with inserted lesions", "Evaluation", "evaluation.config:RealCheckConfig", "evaluation.real_scans:check_real", output=True),
    _command("predict-study", "score a folder of any size in steps, here or on a cluster", "Many scans", "workflow.config:StudyConfig", "workflow.predict_study:predict_study", "scans"),
    _command("check-localisation", "where boxes land on turned, cut and small heads", "Evaluation", "evaluation.config:LocalisationConfig", "evaluation.localisation:check_localisation", output=True),
    _command("experiment", "a table or figure of the paper, from crops to page", "Experiments", "workflow.config:ExperimentConfig", "workflow.experiment:run_experiment", "name"),
    _command("compare", "finished runs -> tables, figures and page", "Experiments", "evaluation.comparison.config:ComparisonConfig", "evaluation.comparison.compare:write_comparison"),
    _command("bundle", "trained runs -> model bundle", "Model bundles", "release.config:BundleConfig", "release.bundling:make_bundle"),
    _command("bundle-experiment", "a run of an experiment -> model bundle", "Model bundles", "release.config:ExperimentBundleConfig", "release.experiment_bundle:bundle_experiment", "experiment"),
    _command("add-sinus", "bundle and sinus network -> bundle", "Model bundles", "release.config:AddSinusConfig", "release.sinus_bundle:add_sinus"),
    _command("compare-decisions", "classifier, opacification, both: which finds more", "Model bundles", "release.config:SinusDecisionsConfig", "release.sinus_decisions:compare_decisions"),
    _command("add-onnx", "what a bundle needs to run without PyTorch", "Model bundles", "release.config:AddOnnxConfig", "release.onnx_export:add_onnx"),
    _command("export-monai", "model bundle -> MONAI Bundle", "Model bundles", "release.config:MonaiExportConfig", "release.monai_export:export_monai"),
    _command("model-card", "write a bundle's model card again", "Model bundles", "release.config:ModelCardConfig", "release.model_card:write_model_card"),
)  # fmt: skip


def register() -> tuple[Command, ...]:
    """All commands of this package."""
    return COMMANDS
