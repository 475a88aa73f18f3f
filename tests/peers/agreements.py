"""The options of diffusers' schedulers and k-diffusion's functions that end where a sampler of gendiff does.

A line is the peer as it is called | gendiff's sampler | gendiff's levels; `cases` says how it is read.
"""

import numpy as np

from tests.peers.cases import cases

DIFFUSERS = """\
DDIM(steps_offset=1, kinds=EVERY_KIND) | ddim() | leading(SD, 10, offset=1)
DDIM(steps_offset=1, set_alpha_to_one=False) | ddim() | leading(SD, 10, offset=1, end='first')
DDIM(**TRAILING) | ddim() | trailing(SD, 10)
DDIM(**TRAILING, **ZERO, kinds=EVERY_KIND[1:]) | ddim() | trailing(ZERO_SNR, 10)
DDIM(steps_offset=1, step={'eta': 0.5}) | ddim(0.5) | leading(SD, 10, offset=1)
DDIMParallel(**TRAILING, kinds=EVERY_KIND) | ddim() | trailing(SD, 10)
CogVideoXDDIM(**TRAILING, kinds=EVERY_KIND) | ddim() | trailing(shifted(SD, 3**0.5), 10)
CogVideoXDDIM(**TRAILING, **ZERO, kinds=VELOCITY) | ddim() | trailing(zero_terminal_snr(shifted(SD, 3**0.5)), 10)
CogVideoXDPM(**TRAILING) | dpm_solver_multistep(2, eta=1.0) | trailing(shifted(SD, 3**0.5), 10)
DDPM(kinds=EVERY_KIND) | ddpm() | leading(SD, 10)
DDPM(**TRAILING) | ddpm() | trailing(SD, 10)
DDPM(timestep_spacing='linspace') | ddpm() | linspace(SD, 10)
DDPM(variance_type='fixed_small_log') | ddpm() | leading(SD, 10)
DDPM(variance_type='fixed_large') | ddpm('large') | leading(SD, 10)
DDPM(variance_type='fixed_large', **TRAILING, whole=False) | ddpm('large') | trailing(SD, 10)[:-1]
DDPM(variance_type='learned_range') | ddpm('learned') | leading(SD, 10)
DDPMParallel() | ddpm() | leading(SD, 10)
DDPMWuerstchen(whole=False, kinds=UNNAMED) | ddpm() | own
PNDM(skip_prk_steps=True, steps_offset=1) | pndm() | leading(SD, 10, offset=1, end='first')
PNDM(skip_prk_steps=True, **TRAILING) | pndm() | trailing(SD, 10, end='first')
PNDM(skip_prk_steps=True, steps_offset=1, set_alpha_to_one=True, whole=False) | pndm() | leading(SD, 10, offset=1)[:-1]
PNDM(steps_offset=1) | pndm(SD) | leading(SD, 10, offset=1, end='first')
TCD(step={'eta': 0.0}, kinds=EVERY_KIND) | ddim() | own
ScoreSdeVe(sigma_min=0.01, sigma_max=20.0, kinds=UNNAMED, **DOWN_TO_0) | ddpm('large') | own
EulerDiscrete(**TRAILING, kinds=EVERY_KIND) | euler() | trailing(SD, 10)
EulerDiscrete(timestep_spacing='leading', steps_offset=1) | euler() | leading(SD, 10, offset=1)
EulerDiscrete(steps=20) | euler() | own
EulerDiscrete(use_karras_sigmas=True) | euler() | karras(SD, 10)
EulerDiscrete(use_exponential_sigmas=True) | euler() | log_snr(SD, 10)
EulerDiscrete(use_beta_sigmas=True) | euler() | own
EulerAncestralDiscrete(**TRAILING, kinds=TWO) | euler_ancestral() | trailing(SD, 10)
HeunDiscrete(timesteps=SOME, kinds=EVERY_KIND, note='levels with sigma <= alpha') | heun() | own
LMSDiscrete(whole=False, kinds=EVERY_KIND) | deis(4, variable='ratio', start='plain') | own
LMSDiscrete(whole=False, step={'order': 2}) | deis(2, variable='ratio', start='plain') | own
EDMEuler(kinds=TWO) | euler() | karras(EDM, 10)
EDMEuler(sigma_schedule='exponential') | euler() | log_snr(EDM, 10)
FlowMatchEulerDiscrete(shift=3.0, kinds=UNNAMED) | euler() | own
FlowMatchEulerDiscrete(shift=3.0, kinds=UNNAMED, **EVENLY) | euler() | trailing(shifted(FLOW, 3.0), 10)
FlowMapEulerDiscrete(shift=3.0, kinds=UNNAMED) | euler() | trailing(shifted(FLOW, 3.0), 10)
MiniMaxH3(kinds=UNNAMED) | euler() | own
LTXEulerAncestralRF(kinds=UNNAMED, eta=0.0) | euler() | own
DPMSolverMultistep(solver_order=1) | dpm_solver_multistep(1) | TO_CLEAN
DPMSolverMultistep(kinds=EVERY_KIND) | SECOND | TO_CLEAN
DPMSolverMultistep(**TO_MIN) | SECOND | TO_FIRST
DPMSolverMultistep(steps=20, **TO_MIN, euler_at_final=True) | SECOND | FURTHER
DPMSolverMultistep(steps=20, **TO_MIN, lower_order_final=False) | dpm_solver_multistep(2) | FURTHER
DPMSolverMultistep(steps=20) | dpm_solver_multistep(2) | without_last_start(linspace(SD, 21))
DPMSolverMultistep(solver_type='heun') | dpm_solver_multistep(2, formula='exact', lower_order_final=True) | TO_CLEAN
DPMSolverMultistep(solver_order=3) | PUBLISHED | TO_CLEAN
DPMSolverMultistep(**TRAILING) | SECOND | trailing(SD, 10)
DPMSolverMultistep(use_karras_sigmas=True) | SECOND | karras(SD, 10)
DPMSolverMultistep(use_lu_lambdas=True) | SECOND | log_snr(SD, 10)
DPMSolverMultistep(use_exponential_sigmas=True) | SECOND | log_snr(SD, 10)
DPMSolverMultistep(use_flow_sigmas=True, flow_shift=3.0, kinds=FLOW) | SECOND | own
DPMSolverMultistep(**TRAILING, **ZERO, kinds=VELOCITY) | SECOND | own
DPMSolverMultistep(solver_order=1, **SDE) | ddim(1.0) | TO_CLEAN
DPMSolverMultistep(kinds=EVERY_KIND, **SDE) | SECOND_SDE | TO_CLEAN
DPMSolverMultistep(solver_type='heun', **SDE) | dpm_solver_multistep(2, eta=1.0, formula='exact', lower_order_final=True) | TO_CLEAN
DPMSolverMultistep(solver_order=1, **NOISE_FORM) | ddim() | TO_FIRST
DPMSolverMultistep(solver_type='heun', **NOISE_FORM) | deis(2, lower_order_final=True) | TO_FIRST
DPMSolverSinglestep(solver_order=1, lower_order_final=True) | ddim() | TO_CLEAN
DPMSolverSinglestep(steps=11, kinds=EVERY_KIND, **EVEN) | dpm_solver_single(SD, 2) | PAIRED
DPMSolverSinglestep(steps=11, path=1.0, **EVEN, **SDE) | dpm_solver_single(SD, 2, eta=1.0) | PAIRED
DPMSolverSDE(**TRAILING, path=1.0, kinds=TWO) | dpm_solver_single(SD, 2, eta=1.0) | trailing(SD, 10)
DEISMultistep(solver_order=1) | deis(1) | TO_FIRST
DEISMultistep(kinds=EVERY_KIND) | deis(2, lower_order_final=True) | TO_FIRST
DEISMultistep(use_karras_sigmas=True) | deis(2, lower_order_final=True) | own
UniPCMultistep(solver_order=1) | unipc(1, lower_order_final=True) | TO_CLEAN
UniPCMultistep(kinds=EVERY_KIND) | unipc(2, lower_order_final=True) | TO_CLEAN
UniPCMultistep(solver_order=3) | unipc(3, lower_order_final=True) | TO_CLEAN
UniPCMultistep(solver_order=1, solver_type='bh1', **TO_MIN) | unipc(1, variant='bh1', lower_order_final=True) | TO_FIRST
UniPCMultistep(solver_order=2, solver_type='bh1', **TO_MIN) | unipc(2, variant='bh1', lower_order_final=True) | TO_FIRST
UniPCMultistep(solver_order=3, solver_type='bh1', **TO_MIN) | unipc(3, variant='bh1', lower_order_final=True) | TO_FIRST
UniPCMultistep(lower_order_final=False, **TO_MIN) | unipc(2) | TO_FIRST
UniPCMultistep(use_flow_sigmas=True, flow_shift=3.0, kinds=FLOW) | unipc(2, lower_order_final=True) | own
UniPCMultistep(**UNCORRECTED) | SECOND | TO_CLEAN
SASolver(predictor_order=1, corrector_order=2, **TAU_0) | unipc(1, variant='bh1', lower_order_final=True) | TO_FIRST
SASolver(predictor_order=2, corrector_order=3, **TAU_0) | unipc(2, variant='bh1', lower_order_final=True) | TO_FIRST
SASolver(predictor_order=3, corrector_order=4, **TAU_0) | unipc(3, variant='bh1', lower_order_final=True) | TO_FIRST
EDMDPMSolverMultistep(kinds=TWO) | SECOND | karras(EDM, 10)
EDMDPMSolverMultistep(solver_order=3) | PUBLISHED | karras(EDM, 10)
EDMDPMSolverMultistep(solver_type='heun') | dpm_solver_multistep(2, formula='exact', lower_order_final=True) | karras(EDM, 10)
EDMDPMSolverMultistep(**SDE) | SECOND_SDE | karras(EDM, 10)
CosineDPMSolverMultistep(kinds=('v_prediction', 'epsilon')) | SECOND_SDE | log_snr(edm(0.3, 500.0), 10)
"""

K_DIFFUSION = """\
sample_euler | euler() | karras(EDM, 10)
sample_euler_ancestral(eta=1.0) | euler_ancestral(1.0) | karras(EDM, 10)
sample_euler_ancestral(eta=0.5) | euler_ancestral(0.5) | karras(EDM, 10)
sample_heun | heun() | karras(CLEAN_HALF, 10)
sample_heun(s_churn=4.0) | churn(EDM, 4.0) | karras(CLEAN_HALF, 10)
sample_heun(**LIMITS) | churn(EDM, 40.0, churn_min=0.05, churn_max=0.5, churn_noise=1.01) | karras(CLEAN_HALF, 10)
sample_lms | deis(4, variable='ratio', start='plain') | karras(EDM, 10, end='first')
sample_lms(order=3) | deis(3, variable='ratio', start='plain') | karras(EDM, 10, end='first')
sample_dpmpp_2s_ancestral(eta=0.0) | dpm_solver_single(EDM, 2) | karras(EDM, 10)
sample_dpmpp_sde(eta=0.0) | dpm_solver_single(EDM, 2) | karras(EDM, 10)
sample_dpmpp_sde(eta=1.0, path=1.0) | dpm_solver_single(EDM, 2, eta=1.0) | karras(EDM, 10)
sample_dpmpp_2m | dpm_solver_multistep(2) | karras(EDM, 10)
sample_dpmpp_2m_sde(eta=0.0) | dpm_solver_multistep(2) | karras(EDM, 10)
sample_dpmpp_2m_sde(eta=1.0) | dpm_solver_multistep(2, eta=1.0) | karras(EDM, 10)
sample_dpmpp_2m_sde(eta=0.5) | dpm_solver_multistep(2, eta=0.5**0.5) | karras(EDM, 10)
sample_dpmpp_2m_sde(eta=1.0, solver_type='heun') | dpm_solver_multistep(2, eta=1.0, formula='exact') | karras(EDM, 10)
"""

NAMED = {
    "EVENLY": {"timesteps": {"sigmas": np.linspace(1, 0.1, 10)}, "note": "sigmas=linspace(1, 1/n, n)"},
    "SOME": {"timesteps": [300, 250, 200, 150, 100, 50, 20, 0]},
    "DOWN_TO_0": {"timesteps": {"num_inference_steps": 10, "sampling_eps": 0.0}, "note": "sampling_eps=0"},
    "LIMITS": {"s_churn": 40.0, "s_tmin": 0.05, "s_tmax": 0.5, "s_noise": 1.01},
}
AGREEMENTS = {"diffusers": cases(DIFFUSERS, NAMED), "k-diffusion": cases(K_DIFFUSION, NAMED)}
