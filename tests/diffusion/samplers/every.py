"""Every sampler there is, built for a schedule; a new one is one line here."""

from gendiff import diffusion

EVERY = {
    "ddpm": lambda schedule: diffusion.samplers.ddpm(),
    "ddpm large": lambda schedule: diffusion.samplers.ddpm("large"),
    "ddim": lambda schedule: diffusion.samplers.ddim(),
    "ddim stochastic": lambda schedule: diffusion.samplers.ddim(0.7),
    "euler": lambda schedule: diffusion.samplers.euler(),
    "heun": lambda schedule: diffusion.samplers.heun(),
    "rk4": lambda schedule: diffusion.samplers.rk4(schedule),
    "euler_ancestral": lambda schedule: diffusion.samplers.euler_ancestral(),
    "churn": lambda schedule: diffusion.samplers.churn(schedule, 2.0),
    "predictor_corrector": lambda schedule: diffusion.samplers.predictor_corrector(),
    "dpm_solver_multistep": lambda schedule: diffusion.samplers.dpm_solver_multistep(),
    "dpm_solver_multistep 3": lambda schedule: diffusion.samplers.dpm_solver_multistep(3),
    "dpm_solver_multistep sde": lambda schedule: diffusion.samplers.dpm_solver_multistep(2, eta=0.7),
    "dpm_solver_single": lambda schedule: diffusion.samplers.dpm_solver_single(schedule, 2),
    "dpm_solver_single sde": lambda schedule: diffusion.samplers.dpm_solver_single(schedule, 2, eta=1.0),
    "dpm_solver_single 3": lambda schedule: diffusion.samplers.dpm_solver_single(schedule, 3),
    "unipc": lambda schedule: diffusion.samplers.unipc(),
    "unipc 3": lambda schedule: diffusion.samplers.unipc(3, variant="bh1"),
    "deis": lambda schedule: diffusion.samplers.deis(),
    "deis ratio": lambda schedule: diffusion.samplers.deis(4, variable="ratio"),
    "pndm": lambda schedule: diffusion.samplers.pndm(),
    "pndm runge_kutta": lambda schedule: diffusion.samplers.pndm(schedule),
    "fixed_path": lambda schedule: diffusion.samplers.fixed_path(diffusion.samplers.ddim(1.0)),
    "reversible_heun": lambda schedule: diffusion.samplers.reversible_heun(),
}
